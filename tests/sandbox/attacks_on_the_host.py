"""Hostile replies, and images that are bombs or that other sessions see; ``attacks.py`` has all others."""

from tests.sandbox.attack import Attack, calls, tries

_SOCKET = """
import gc, json, os, socket, stat, struct
fds = [fd for fd in range(3, 128) if os.path.exists(f'/proc/self/fd/{fd}') and stat.S_ISSOCK(os.fstat(fd).st_mode)]
sock = socket.socket(fileno=os.dup(fds[0]))
def reply(head, payload=b''):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    sock.sendall(struct.pack('>I', len(text)) + text + payload)
"""
_FORGED = (
    "dict(number=1, stdout='forged', stderr='', result=None, error=None, truncated=False, notes=[], shown={shown})"
)

REPLIES = [
    Attack(
        "a pickle as a reply",
        _SOCKET
        + "import pickle\nclass Bomb:\n    def __reduce__(self):\n        return (os.system, ('touch {host}.pwned',))\n"
        "reply(pickle.dumps(Bomb()))\nimport time\ntime.sleep(1)",
        "^protocol",
    ),
    Attack("a reply of four gigabytes", _SOCKET + "sock.sendall(b'\\xff\\xff\\xff\\xff')", "^protocol"),
    Attack("a reply that is no object", _SOCKET + "reply([1])", "^protocol"),
    Attack("a reply nested without end", _SOCKET + "reply(b'[' * 50_000)", "^protocol"),
    Attack("a second reply", _SOCKET + "reply(" + _FORGED.format(shown="[]") + ")", "forged", poisons=True),
    Attack(
        "an image without end",
        _SOCKET + "reply(" + _FORGED.format(shown="[[1 << 20, 1 << 20]]") + ")",
        "^protocol",
    ),
    Attack("an image of negative size", _SOCKET + "reply(" + _FORGED.format(shown="[[-1, -1]]") + ")", "^protocol"),
    Attack("a thousand images", _SOCKET + "reply(" + _FORGED.format(shown="[[1, 1]] * 1000") + ")", "^protocol"),
    Attack(
        "more pixels than a cell may show",
        _SOCKET + "reply(" + _FORGED.format(shown="[[8192, 4096]] * 4") + ")",
        "^protocol",
    ),
    Attack(
        "more text than a cell may print",
        _SOCKET + "reply(dict(" + _FORGED.format(shown="[]") + ", stdout='x' * 100_000))",
        "^protocol",
    ),
    Attack(
        "an error's name without end",
        _SOCKET + "reply(dict(" + _FORGED.format(shown="[]") + ", error='x' * 1000))",
        "^protocol",
    ),
    Attack("a number without end", _SOCKET + "reply(b'{\"number\": ' + b'1' * 100_000 + b'}')", "^protocol"),
    Attack(
        "text that no file can hold",
        _SOCKET + "reply(dict(" + _FORGED.format(shown="[]") + ", stdout='\\ud800 forged'))",
        r"\? forged",
        poisons=True,
    ),
    Attack("no reply", _SOCKET + "os.closerange(3, 128)", "^exited|^timeout|^killed"),
    Attack(
        "a reply that drips",
        _SOCKET + "import time\nsock.sendall(struct.pack('>I', 1000))\nwhile True:\n    sock.sendall(b' ')\n"
        "    time.sleep(0.1)",
        "TimeoutException|^timeout|^protocol",
        slow=True,
        seconds=0.3,
    ),
]

IMAGES = [
    Attack(
        "a PNG of 20,000 px",
        "from PIL import Image\nImage.new('1', (20_000, 20_000)).save('/tmp/b.png')\nImage.open('/tmp/b.png').show()",
        "DecompressionBombError|MemoryError|cannot be shown",
        slow=True,
    ),
    Attack(
        "a PNG that unpacks to gigabytes",
        "import struct, zlib\nfrom PIL import Image\ndef chunk(kind, data):\n"
        "    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))\n"
        "head = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)\n"
        "open('/tmp/b.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n"
        "' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b''))\n"
        "Image.open('/tmp/b.png').load()",
        "DecompressionBombError",
    ),
    Attack(
        "a huge image that is shown",
        "from PIL import Image\nImage.new('L', (20_000, 2_000)).show()\nprint('on')",
        r"an image of 20000 x 2000 px cannot be shown",
    ),
    Attack(
        "a huge figure",
        "import matplotlib.pyplot as plt\nplt.figure(figsize=(1000, 1000))\nplt.show()",
        "cannot be shown",
    ),
    Attack(
        "many images",
        "for i in range(50):\n    image_1.show()",
        r"only 10 images are shown from one cell \(40 left out\)",
    ),
    Attack(
        "change the shared image",
        "import ctypes\nfrom PIL import Image\nimport mmap, gc\n"
        "maps = [m for m in gc.get_objects() if isinstance(m, mmap.mmap)]\ntry:\n    maps[0][0] = 1\n"
        "    print('ESCAPED')\n"
        "except (TypeError, IndexError):\n    print('denied')",
    ),
]

_MAPPED = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
(line,) = [each for each in open('/proc/self/maps') if 'memfd' in each]
start, end = (int(each, 16) for each in line.split()[0].split('-'))
(fd,) = [fd for fd in range(3, 64) if os.path.exists(f'/proc/self/fd/{fd}')
         and 'memfd' in os.readlink(f'/proc/self/fd/{fd}')]
"""

SHARED = [
    calls("libc.mprotect(ctypes.c_void_p(start), end - start, 3)", "make the shared image writable", _MAPPED),
    calls("libc.madvise(ctypes.c_void_p(start), end - start, 9)", "punch a hole into the shared image", _MAPPED),
    tries("os.write(fd, b'x')", "write the shared image by its descriptor", before=_MAPPED),
    tries("os.write(os.open(f'/proc/self/fd/{fd}', os.O_RDWR), b'x')", "reopen the shared image", before=_MAPPED),
    tries("os.ftruncate(fd, 0)", "cut the shared image off", before=_MAPPED),
]
