"""As much of the Hugging Face Hub as uploading and downloading a model repository needs, on this machine."""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHA = "0123456789abcdef0123456789abcdef01234567"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/repos/create":
            made = json.loads(body)
            repo = f"{made['organization']}/{made['name']}" if made.get("organization") else made["name"]
            self.server.created.append((repo, made.get("private", made.get("visibility") == "private")))
            self.reply({"url": f"{self.server.url}/{repo}", "id": repo})
        elif self.path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.reply({"files": files})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.reply(
                {"commitUrl": f"{self.server.url}/{self.server.repo}/commit/{SHA}", "commitOid": SHA, "success": True}
            )
        else:
            self.send_error(404)

    def do_GET(self):
        path = self.path.partition("?")[0]
        repo = self.server.repo
        if path.startswith(f"/api/models/{repo}/tree/"):
            self.reply([{"type": "file", "path": f, "size": len(c), "oid": "0"} for f, c in self.server.files.items()])
        elif path.startswith(f"/api/models/{repo}"):
            siblings = [{"rfilename": name} for name in self.server.files]
            self.reply({"id": repo, "modelId": repo, "sha": SHA, "siblings": siblings, "private": False})
        elif path.startswith(f"/{repo}/resolve/"):
            name = path.split("/", 5)[5]
            self.send_file(self.server.files[name])
        else:
            self.reply({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815 - the base class looks for it

    def send_file(self, content):
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self.send(content, 200, {"ETag": etag, "X-Repo-Commit": SHA, "Content-Type": "application/octet-stream"})

    def reply(self, values, status=200, headers=None):
        self.send(json.dumps(values).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def send(self, content, status, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def hub_server(repo: str):
    """Run a Hub with one repository; yields a server with ``url``, ``files`` (name → bytes) and ``created``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.url, server.repo = f"http://127.0.0.1:{server.server_port}", repo
    server.files, server.created = {}, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
