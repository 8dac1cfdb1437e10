"""Writes small PDF files by hand."""

from __future__ import annotations

from collections.abc import Sequence


def pdf(content: bytes, size: tuple[float, float] = (612, 792), pages: int = 1) -> bytes:
    """Return a PDF whose pages, of a size in points, all show the same content stream."""
    kids = b" ".join(b"%d 0 R" % (4 + page) for page in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        stream(b"", content),
    ]
    objects += [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %g %g]/Contents 3 0 R/Resources<<>>>>" % size] * pages
    return document(objects)


def nested_forms(depth: int = 9, width: int = 10) -> bytes:
    """Return a PDF of a few kilobytes whose page has ``width ** depth`` rectangles, in forms within forms."""
    last = 4 + depth
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</XObject<</F 4 0 R>>>>>>"
    forms = [
        stream(b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]/Resources<</XObject<</F %d 0 R>>>>" % (5 + n), use)
        for n, use in enumerate([b"/F Do " * width] * depth)
    ]
    square = stream(b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]", b"1 0 0 rg 10 10 500 500 re f")
    start = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page % (last + 1)]
    return document([*start, *forms, square, stream(b"", b"/F Do")])


def endless_pattern() -> bytes:
    """Return a PDF of one page whose one rectangle is filled with 5 x 10^11 tiles."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 5 0 R/Resources<</Pattern<</P 4 0 R>>>>>>"
    pattern = b"/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep 0.001/YStep 0.001/Resources<<>>"
    return document(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            page,
            stream(pattern, b"1 0 0 rg 0 0 0.5 0.5 re f"),
            stream(b"", b"/Pattern cs /P scn 0 0 612 792 re f"),
        ]
    )


def stream(head: bytes, content: bytes) -> bytes:
    """Return an object that holds bytes."""
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (head, len(content), content)


def document(objects: Sequence[bytes]) -> bytes:
    """Return a PDF of numbered objects, the first of which is its root."""
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + head + table + tail
