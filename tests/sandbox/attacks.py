"""What a hostile program tries: each prints ESCAPED if it gets through; the pattern is what it comes to instead.

``docs/sandbox.md`` lists them by name. ``{host}`` stands for a file of the host, ``{port}`` for a port that it listens
on, ``{abstract}`` for its abstract socket, ``{pid}`` for its process, ``{other}`` for another session's process,
``{warm}`` for the warm parent.
"""

from tests.sandbox.attack import Attack, calls, tries
from tests.sandbox.attacks_on_the_host import IMAGES, REPLIES, SHARED

FILES = [
    tries("open({host!r}).read()", "read a file of the host"),
    tries("open({host!r}, 'w')", "write a file of the host"),
    tries("os.listdir(os.path.dirname({host!r}))", "list a folder of the host"),
    tries("open('/root/.bashrc').read()", "read root's home"),
    tries("open('/etc/shadow').read()", "read password hashes"),
    tries("open('/etc/passwd').read()", "read the users of the host"),
    tries("open('/usr/lib/escape', 'w')", "write to the system"),
    tries("open(os.path.join(os.path.dirname(os.__file__), 'x.py'), 'w')", "write to the interpreter"),
    tries("import PIL\nopen(os.path.join(os.path.dirname(PIL.__file__), 'x.py'), 'w')", "write to the libraries"),
    tries("open('/sandbox/worker/cells.py', 'a')", "change the sandbox's own code"),
    tries("os.mkdir('/new')", "write to the root folder"),
    tries("os.symlink({host!r}, '/tmp/link')\nopen('/tmp/link').read()", "follow a link to the host"),
    tries("os.link('/proc/1/root', '/tmp/root')", "make a hard link out"),
    tries("open('/dev/vda', 'rb').read(1)", "read a disk"),
    tries("os.mknod('/tmp/disk', 0o60666, os.makedev(254, 0))\nopen('/tmp/disk', 'rb').read(1)", "make a device node"),
    tries("open('/dev/mem', 'rb').read(1)", "read physical memory"),
    tries("open('/proc/sys/kernel/core_pattern', 'w').write('|/tmp/x')", "set the host's core pattern"),
    tries("open('/proc/sysrq-trigger', 'w').write('h')", "use the host's system request key"),
    tries("open('/proc/kcore', 'rb').read(1)", "read kernel memory"),
    tries("os.listdir('/sys/fs/cgroup')", "look at control groups"),
    tries("open('/sys/kernel/uevent_helper', 'w')", "set a helper of the kernel"),
    tries("open('/proc/self/exe', 'r+b')", "write to the running interpreter"),
    tries("open('/proc/self/root/usr/escape', 'w')", "write by its own root"),
    tries("open(f'/proc/self/fd/{open(os.__file__).fileno()}', 'w')", "reopen a file to write it"),
    tries("os.chmod('/dev/null', 0)", "take a device from the host"),
    tries("os.setxattr('/tmp', 'user.a', b'1')", "set attributes"),
    tries(
        "fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)",
        "make the host wait for a lease on a file",
        "denied PermissionError",
        "import fcntl",
    ),
    tries(
        "fcntl.fcntl(os.open('/usr', os.O_RDONLY), fcntl.F_NOTIFY, 1)",
        "be told what changes in the host's folders",
        before="import fcntl",
    ),
    Attack(
        "climb out by open folders",
        "import os\nfound = os.listdir('/tmp/' + '../' * 40)\nprint('ESCAPED' if {host!r}.split('/')[1] in found and "
        "os.path.exists({host!r}) else 'denied')",
    ),
]

PROCESSES = [
    tries("os.kill({pid}, 9)", "kill the trainer", "denied ProcessLookupError"),
    tries("os.kill({other}, 9)", "kill another session", "denied ProcessLookupError"),
    Attack("kill the session's first process", "import os\nos.kill(1, 9)\nos.kill(1, 19)\nprint('alive')", "alive"),
    tries("open('/proc/1/environ').read()", "read the first process's environment"),
    tries("open('/proc/1/mem', 'rb').read(1)", "read the first process's memory"),
    tries("os.listdir('/proc/1/root/')", "leave by the first process's root"),
    tries("os.listdir('/proc/1/fd')", "use the first process's files"),
    tries("open('/proc/{pid}/environ').read()", "read the trainer's environment"),
    tries("open('/proc/{pid}/mem', 'rb').read(1)", "read the ground truth in the trainer's memory"),
    tries("os.kill({warm}, 9)", "kill the warm parent", "denied ProcessLookupError"),
    tries("open('/proc/{warm}/mem', 'rb').read(1)", "read the warm parent's memory"),
    tries("os.pidfd_open({pid})", "hold the trainer's process", "denied ProcessLookupError"),
    tries("open('/dev/tty').read(1)", "read the trainer's terminal"),
    tries("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))", "run before all others"),
    Attack(
        "see the host's sockets",
        "print('ESCAPED' if open('/proc/net/unix').read().count('\\n') > 1 else 'denied')",
    ),
    Attack(
        "see other processes",
        "import os\npids = [p for p in os.listdir('/proc') if p.isdigit()]\n"
        "print('denied' if len(pids) <= 2 else 'ESCAPED')",
    ),
    Attack(
        "find the ground truth in its own memory",
        "needle = bytes(reversed({backwards!r}.encode()))\nfound = 0\nmemory = open('/proc/self/mem', 'rb')\n"
        "for line in open('/proc/self/maps'):\n    place, rights = line.split()[:2]\n    if rights == 'rw-p':\n"
        "        start, end = (int(each, 16) for each in place.split('-'))\n        memory.seek(start)\n"
        "        found += memory.read(min(end - start, 1 << 24)).count(needle + b'!')\n"
        "print('ESCAPED' if found else 'denied')",
    ),
    Attack("read environment variables", "import os\nprint('ESCAPED' if 'SECRET' in str(os.environ) else 'denied')"),
    calls("libc.ptrace(16, 1, 0, 0)", "trace the first process"),
    calls("libc.ptrace(0, 0, 0, 0)", "let itself be traced"),
    calls("libc.syscall(310, 1, 0, 0, 0, 0, 0)", "read another process's memory by a system call"),
    calls("libc.syscall(438, libc.syscall(434, 1, 0), 0, 0)", "take a file out of another process"),
    calls("libc.setpriority(0, 0, -20)", "take priority"),
]

PRIVILEGES = [
    calls("libc.unshare(0x10000000)", "make a user namespace"),
    calls("libc.unshare(0x00020000)", "make a mount namespace"),
    calls("libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)", "clone into a user namespace"),
    Attack(
        "clone3 into a user namespace",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nargs = (ctypes.c_uint64 * 11)(0x10000000)\n"
        "print('ESCAPED' if libc.syscall(435, args, 88) >= 0 else 'denied', ctypes.get_errno())",
        "denied 38",
    ),
    calls("libc.setns(os.open('/proc/self/ns/net', 0), 0)", "enter a namespace"),
    calls("libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)", "mount"),
    calls("libc.umount2(b'/proc', 2)", "unmount what hides the host's processes"),
    calls("libc.mount(None, b'/usr', None, 32 | 4096, None)", "mount the system writable"),
    calls("libc.chroot(b'/tmp')", "change the root"),
    calls("libc.syscall(155, b'/tmp', b'/tmp')", "pivot the root"),
    calls("libc.syscall(430, b'tmpfs', 0)", "mount by the new calls"),
    tries("os.setuid(0)", "become root"),
    tries("os.setgroups([0])", "join groups"),
    Attack(
        "gain rights by setuid programs",
        "import subprocess, shutil\nsu = shutil.which('su') or shutil.which('mount') or '/bin/true'\n"
        "got = subprocess.run([su, '-c', 'id -u'], capture_output=True, text=True, stdin=subprocess.DEVNULL)\n"
        "print('ESCAPED' if got.stdout.strip() == '0' else 'denied')",
    ),
    calls("libc.syscall(321, 0, 0, 0)", "load a program into the kernel"),
    calls("libc.syscall(425, 1, (ctypes.c_char * 120)())", "use io_uring"),
    calls("libc.syscall(323, 0)", "handle page faults"),
    calls("libc.syscall(254, 0, b'/usr', 0xFFF)", "watch what the host opens"),
    Attack(
        "32-bit system calls",
        "import ctypes, mmap\ncode = mmap.mmap(-1, 4096, prot=7)\n"
        "code.write(bytes.fromhex('53bb00000010b836010000cd805bc3'))\n"
        "call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))\n"
        "print('ESCAPED' if call() == 0 else 'denied')",
        "denied|^exited",
    ),
    Attack(
        "x32 system calls",
        "import ctypes\nprint('ESCAPED' if ctypes.CDLL(None).syscall(0x40000000 | 272, 0x10000000) == 0 else 'denied')",
        "denied|^exited",
    ),
    calls("libc.syscall(250, 0, -3, 0)", "use the kernel's keys"),
    calls("libc.syscall(298, 0, 0, -1, -1, 0)", "use performance counters"),
    calls("libc.syscall(304, -1, 0, 0)", "open files by handle"),
    calls("libc.syscall(175, 0, 0, b'')", "load a kernel module"),
    calls("libc.syscall(169, 0xfee1dead, 672274793, 0, 0)", "reboot"),
    calls("libc.sethostname(b'x', 1)", "name the host"),
    calls("libc.personality(0x0040000)", "turn off the randomising of addresses"),
    calls("libc.syscall(319, b'x', 0)", "hide memory in a nameless file"),
    calls("libc.shmget(0, 4096, 0o1666)", "hide memory in System V segments"),
    Attack(
        "take the filter off",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.prctl(38, 0, 0, 0, 0)\n"
        "libc.prctl(22, 0, 0, 0, 0)\n"
        "print('denied' if 'Seccomp:\\t2' in open('/proc/self/status').read() else 'ESCAPED')",
    ),
    tries("import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 50, 1 << 50))", "raise its own limits"),
]

NETWORK = [
    tries("socket.create_connection(('127.0.0.1', {port}), 1)", "connect to a server of the host"),
    tries("socket.create_connection(('1.1.1.1', 53), 1)", "connect to the internet"),
    tries("socket.getaddrinfo('example.com', 80)", "look up a name"),
    tries("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))", "send a datagram"),
    tries("socket.create_connection(('169.254.169.254', 80), 1)", "ask the cloud's metadata server"),
    tries("socket.socket(40, socket.SOCK_STREAM)", "talk to the hypervisor"),
    tries("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "configure the network"),
    tries("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "listen to packets"),
    tries("socket.socket(38, socket.SOCK_SEQPACKET)", "use the kernel's cryptography"),
    tries("socket.socket(socket.AF_UNIX).connect({abstract!r})", "connect to an abstract socket of the host"),
]

FLOODS = [
    Attack("a fork bomb", "import os\nwhile True:\n    os.fork()", "BlockingIOError|TimeoutException", seconds=0.5),
    Attack(
        "a bomb of threads",
        "import threading, time\nfor i in range(1000):\n"
        "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "can't start new thread|MemoryError|^exited",
    ),
    Attack("one huge array", "import numpy as np\nnp.ones(1 << 34)", "MemoryError"),
    Attack(
        "memory by parts",
        "def fill(a):\n    while True:\n        a.append(bytearray(1 << 26))\nfill([])",
        "MemoryError",
    ),
    Attack(
        "memory by many processes",
        "import os, time\nfor i in range(6):\n    if os.fork() == 0:\n        a = b'x' * (150 << 20)\n"
        "        time.sleep(60)\ntime.sleep(60)",
        "^memory",
        slow=True,
    ),
    Attack(
        "memory by shared pages",
        "import mmap, os, time\nfor i in range(6):\n    if os.fork() == 0:\n        m = mmap.mmap(-1, 150 << 20)\n"
        "        m.write(b'x' * (150 << 20))\n        time.sleep(60)\ntime.sleep(60)",
        "^memory",
        slow=True,
    ),
    Attack(
        "memory in sockets",
        "import os, socket, time\nfor i in range(20):\n    if os.fork() == 0:\n        kept = []\n        try:\n"
        "            while True:\n                kept += socket.socketpair()\n"
        "                for each in kept[-2:]:\n                    each.setblocking(False)\n"
        "                    try:\n                        while True:\n"
        "                            each.send(bytes(1 << 16))\n"
        "                    except BlockingIOError:\n                        pass\n"
        "        except OSError:\n            time.sleep(60)\ntime.sleep(60)",
        "^memory",
    ),
    Attack(
        "memory in processes and files together",
        "import os, time\nfor i in range(60):\n    open(f'/tmp/{i}', 'wb').write(bytes(1 << 20))\n"
        "for i in range(2):\n    if os.fork() == 0:\n        a = b'x' * (170 << 20)\n        time.sleep(60)\n"
        "time.sleep(60)",
        "^memory",
        slow=True,
    ),
    Attack(
        "the pending signals of its user",
        "import os, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [40])\nimport ctypes\n"
        "libc = ctypes.CDLL(None)\nsent = 0\nwhile sent < 1000 and libc.sigqueue(os.getpid(), 40, None) == 0:\n"
        "    sent += 1\nprint('ESCAPED' if sent > 256 else 'denied')",
    ),
    Attack("a huge file", "open('/tmp/big', 'wb').write(bytes(33 << 20))", "File too large"),
    Attack(
        "a full disk",
        "for i in range(100):\n    open(f'/tmp/{i}', 'wb').write(bytes(30 << 20))",
        "No space left on device",
    ),
    Attack(
        "many small files", "for i in range(100_000):\n    open(f'/tmp/{i}', 'w').close()", "No space left on device"
    ),
    Attack(
        "shared memory files",
        "for i in range(100):\n    open(f'/dev/shm/{i}', 'wb').write(bytes(30 << 20))",
        "No space left",
    ),
    Attack("open files", "files = [open('/dev/null') for i in range(10_000)]", "Too many open files"),
    Attack("a flood of output", "for i in range(300):\n    print('x' * 100_000)", "more characters were left out"),
    Attack(
        "a flood of output from C",
        "import os\nos.system('yes | head -c 50000000')\nprint('done')",
        "more characters were left out|done",
    ),
    Attack("a flood of errors", "raise ValueError('x' * 10_000_000)", "more characters were left out"),
    Attack("endless recursion", "def f():\n    f()\nf()", "RecursionError"),
    Attack("a deep program", "(" * 5_000 + ")" * 5_000, "SyntaxError"),
    Attack("a deep expression", "x = " + "-" * 60_000 + "1", "SyntaxError|exited|killed"),
]

TIME = [
    Attack("an endless loop", "while True:\n    pass", "TimeoutException", seconds=0.3),
    Attack("a sleep", "import time\ntime.sleep(60)", "TimeoutException", seconds=0.3),
    Attack(
        "a loop that goes on after every exception",
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
        "^timeout",
        slow=True,
        seconds=0.5,
    ),
    Attack(
        "a loop that ignores the alarm",
        "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True:\n    pass",
        "^timeout",
        slow=True,
        seconds=0.5,
    ),
    Attack(
        "a thread that is waited for",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()",
        "TimeoutException",
        seconds=0.3,
    ),
    Attack("the end of its process", "import os\nos._exit(7)", "^exited"),
    Attack("a crash", "import ctypes\nctypes.string_at(0)", "^exited"),
    Attack("a signal to itself", "import os\nos.kill(os.getpid(), 9)", "^killed"),
    Attack("a stop of itself", "import os\nos.kill(os.getpid(), 19)", "^timeout", slow=True, seconds=0.5),
]

ATTACKS = [*SHARED, *FILES, *PROCESSES, *PRIVILEGES, *NETWORK, *FLOODS, *TIME, *REPLIES, *IMAGES]
