"""A server made with the SDK, as most are: ``python sdk_server.py`` serves it over standard input and output."""

import sys

from mcp.server.mcpserver import Image, MCPServer
from PIL import Image as PILImage


def make():
    server = MCPServer("made with the SDK")
    notes = []

    @server.tool()
    def add(a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def note(line: str) -> str:
        """Write a line down and read them all."""
        notes.append(line)
        return " ".join(notes)

    @server.tool()
    def draw(side: int) -> list[str | Image]:
        """Draw a square."""
        PILImage.new("RGB", (side, side), (200, 100, 0)).save(path := f"{sys.argv[1]}/square.png")
        return ["a square", Image(path=path)]

    @server.tool()
    def fail() -> str:
        """Fail."""
        raise RuntimeError("out of paint")

    @server.tool()
    def large(megabytes: int) -> str:
        """Say much."""
        return "x" * (megabytes * 1_000_000)

    @server.tool()
    async def wait(seconds: float) -> str:
        """Wait."""
        import anyio

        await anyio.sleep(seconds)
        return "waited"

    return server


if __name__ == "__main__":
    make().run()
