"""A Hugging Face hub on the loopback: repositories of files in memory, as the library huggingface_hub asks for them."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40


class Hub:
    """What the server has, and what it was asked for.

    `files`: content by repository and name. `asked`: (method, name of the file, value of the header Range). `cut`: bytes
    after which the next download breaks off, or None.
    """

    def __init__(self, files: dict[str, dict[str, bytes]]):
        self.files, self.asked, self.cut = files, [], None
        self.url = ""


@contextmanager
def hub(files: dict[str, dict[str, bytes]]):
    """A Hub that is served while the `with` block runs."""
    state = Hub(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection; `protocol_version` 1.0 closes it after each answer."""

    state: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        path = self.path.partition("?")[0].strip("/").split("/")
        api = path[:2] == ["api", "models"]
        repository = "/".join(path[2:4] if api else path[:2])
        files = self.state.files.get(repository)
        if files is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif api and path[4] == "tree":
            self._send(200, json.dumps([{"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
                                        for name, content in files.items()]).encode())
        elif api:
            self._send(200, json.dumps({"id": repository, "sha": COMMIT, "siblings": [
                {"rfilename": name} for name in files]}).encode())
        else:
            self._send_file(files, "/".join(path[4:]))

    def _send_file(self, files, name):
        if name not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content, wanted = files[name], self.headers.get("Range")
        self.state.asked.append((self.command, name, wanted))
        begin = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if wanted:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._send(206 if wanted else 200, content[begin:], headers)

    def _send(self, status, content, headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": len(content)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            whole = self.state.cut is None or len(content) <= self.state.cut
            self.wfile.write(content if whole else content[:self.state.cut])
            if not whole:
                self.state.cut = None


def _etag(content):
    return hashlib.sha1(content).hexdigest()
