"""A hub of models on 127.0.0.1: what ``huggingface_hub`` asks of one, over a folder with files."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SHA = "5" * 40


class HubServer:
    """Serves the files of a folder as one model; ``asked`` has the paths of all requests."""

    def __init__(self, name, folder):
        self.name, self.folder, self.asked = name, folder, []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self._answer()

            def do_GET(self):
                self._answer()

            def log_message(self, *_):
                pass

            def _answer(self):
                hub.asked.append(urlsplit(self.path).path)
                status, body, headers = hub.answer(hub.asked[-1])
                self.send_response(status)
                for name, value in {"Content-Length": len(body), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path):
        """Return status, body and headers of a request."""
        files = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        if path == f"/api/models/{self.name}/revision/main":
            return 200, json.dumps({"id": self.name, "sha": SHA, "siblings": []}).encode(), {}
        if path == f"/api/models/{self.name}/tree/{SHA}":
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            return 200, json.dumps(entries).encode(), {"Content-Type": "application/json"}
        place, _, name = path.rpartition("/")
        if place == f"/{self.name}/resolve/{SHA}" and name in files:
            etag = hashlib.sha1(files[name]).hexdigest()
            return 200, files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": SHA}
        return 404, b"", {"X-Error-Code": "RepoNotFound"}

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
