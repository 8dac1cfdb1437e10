"""Writes small PDF files by hand."""

from __future__ import annotations


def pdf(content: bytes, size: tuple[float, float] = (612, 792), pages: int = 1) -> bytes:
    """Return a PDF whose pages, of a size in points, all show the same content stream."""
    kids = b" ".join(b"%d 0 R" % (4 + page) for page in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
    ]
    objects += [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %g %g]/Contents 3 0 R/Resources<<>>>>" % size] * pages
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + head + table + tail
