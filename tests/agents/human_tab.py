"""A tab of a browser with the page of a game, as a person uses it."""

from tests.agents.human_game import SIZE


class Tab:
    """A tab with the page of a game: what a person sees and does, what the page complained about and was told."""

    def __init__(self, pages, url, width=1280, height=800, scheme="light"):
        self.complaints, self.requests, self.told = [], [], []
        listeners = {
            "console": lambda message: self.complaints.append(message.text),
            "pageerror": lambda error: self.complaints.append(str(error)),
            "request": lambda request: self.requests.append(request.url),
            "dialog": lambda dialog: dialog.accept(),
        }
        self.page = pages.open(width, height, scheme, listeners)
        self.page.goto(url)
        self.settle()

    def settle(self):
        """Wait until the image is there."""
        self.page.wait_for_selector(".canvas:not(.loading) > img[src]")

    def image(self):
        """Place of the image on screen: left, top, width, height."""
        box = self.page.locator(".canvas > img").bounding_box()
        return [box[key] for key in ("x", "y", "width", "height")]

    def drag(self, start, end):
        """Draw with the mouse between two points of the image, given from 0 to 1; returns where it went, likewise."""
        left, top, width, height = self.image()
        points = [(round(left + u * width), round(top + v * height)) for u, v in (start, end)]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        self.page.mouse.move(*(sum(axis) / 2 for axis in zip(*points, strict=True)))
        self.page.mouse.move(*points[1])
        self.page.mouse.up()
        (x1, y1), (x2, y2) = [((x - left) / width, (y - top) / height) for x, y in points]
        return [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]

    def fields(self):
        return self.page.locator(".corners input").evaluate_all("all => all.map(one => one.value)")

    def call(self, number):
        """Send the call that is filled in, which is the episode's call of that number."""
        self.page.click(".tool-form button[type=submit]")
        self.page.wait_for_selector(f".call >> nth={number - 1}")
        self.settle()

    def answer(self, text):
        self.page.click(f".option:has-text('{text}')")
        self.page.click(".answer-form button")
        self.page.wait_for_selector(".outcome")

    def text(self, selector):
        return self.page.locator(selector).inner_text().strip()

    def drawn(self, selector):
        """Corners of a rectangle on screen."""
        return self.page.locator(selector).evaluate(
            "rect => { const m = rect.getScreenCTM(), b = rect.getBBox();"
            " const at = (x, y) => new DOMPoint(x, y).matrixTransform(m);"
            " const p = at(b.x, b.y), q = at(b.x + b.width, b.y + b.height); return [p.x, p.y, q.x, q.y]; }"
        )


def within(region, fractions):
    """The part of a native region that fractions of it name."""
    x1, y1, x2, y2 = region
    width, height = x2 - x1, y2 - y1
    return [
        x1 + fractions[0] * width,
        y1 + fractions[1] * height,
        x1 + fractions[2] * width,
        y1 + fractions[3] * height,
    ]


def screen(tab, native):
    """Where a native box is on screen while the whole image is shown."""
    left, top, width, height = tab.image()
    sx, sy = width / SIZE[0], height / SIZE[1]
    return [left + native[0] * sx, top + native[1] * sy, left + native[2] * sx, top + native[3] * sy]
