"""An MCP server of the standard library alone, which starts in a moment and can misbehave in every way that we know.

python plain_server.py [TOOL ...]    # the tools that it names; all by default
"""

import base64
import io
import json
import os
import sys
import time
import zlib

from PIL import Image

NUMBER = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
NONE = {"type": "object", "properties": {}}
BASE64 = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
BOX = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
IMAGE = {"type": "object", "properties": {"image": BASE64, "region": BOX}, "required": ["image", "region"]}
calls = []


def png(width, height, color):
    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def text(text):
    return {"content": [{"type": "text", "text": text}]}


def count(number):
    calls.append(number)
    return text(f"{len(calls)} calls, {sum(calls)} in sum")


def picture(number):
    image = {"type": "image", "data": png(number, number // 2, (10, 20, 30)), "mimeType": "image/png"}
    return {"content": [{"type": "text", "text": "here"}, image]}


def sizes(image, region):
    with Image.open(io.BytesIO(base64.b64decode(image))) as opened:
        return text(f"{opened.size} {region}")


def hang():
    time.sleep(600)


def die(number):
    os._exit(number)


def lie():
    return {"content": [{"type": "text", "text": "5"}], "structuredContent": {"result": "five"}}


def structured():
    return {"content": [], "structuredContent": {"result": 5}}


def big(number):
    return text("x" * number)


def video():
    return {"content": [{"type": "video", "data": "AAAA", "mimeType": "video/mp4"}]}


def audio():
    return {"content": [{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}]}


def link():
    return {"content": [{"type": "resource_link", "uri": "file:///etc/passwd", "name": "users"}]}


def broken():
    return {"content": [{"type": "image", "data": base64.b64encode(b"no image").decode(), "mimeType": "image/png"}]}


def nonsense():
    return {"content": "nothing of the kind"}


def refuse():
    return {**text("not today"), "isError": True}


def chatter():
    sys.stdout.write("a line that is no message\n{\n")
    return text("done")


def environment():
    return text(" ".join(sorted(os.environ)))


def bomb():
    data = base64.b64decode(png(4, 4, 0))
    header = b"IHDR\0\1\0\0\0\1\0\0" + data[24:29]  # 65536 x 65536 pixels
    data = base64.b64encode(data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:])
    return {"content": [{"type": "image", "data": data.decode(), "mimeType": "image/png"}]}


FIVE = {"type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"]}
TOOLS = {
    **{each.__name__: (each, NUMBER, None) for each in (count, picture, die, big)},
    **{
        each.__name__: (each, NONE, None)
        for each in (hang, video, audio, link, broken, nonsense, refuse, chatter, environment, bomb)
    },
    "sizes": (sizes, IMAGE, None),
    "lie": (lie, NONE, FIVE),
    "structured": (structured, NONE, FIVE),
    "no_schema": (hang, {"type": "object", "properties": {"number": {"type": "no such type"}}}, None),
    "bad name!": (hang, NONE, None),
}
WRONG = ("no_schema", "bad name!")


def reply(request, named):
    method, given = request["method"], request.get("params", {})
    if method == "initialize":
        told = {"protocolVersion": given["protocolVersion"], "capabilities": {"tools": {}}}
        return {"result": {**told, "serverInfo": {"name": "plain", "version": "1"}}}
    if method == "tools/list":
        listed = []
        for name in named:
            _, schema, output = TOOLS[name]
            listed.append({"name": name, "description": f"Do {name}.", "inputSchema": schema})
            if output:
                listed[-1]["outputSchema"] = output
        return {"result": {"tools": listed}}
    if method == "tools/call":
        function, _, _ = TOOLS[given["name"]]
        return {"result": function(**given.get("arguments") or {})}
    return {"error": {"code": -32601, "message": "no such method"}}


def main():
    named = sys.argv[1:] or [name for name in TOOLS if name not in WRONG]
    if named == ["silent"]:
        time.sleep(600)
    if named == ["fail"]:
        raise SystemExit("the licence has expired")
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply(request, named)}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
