"""A Hub of our own on the loopback: in memory, what a push and a load ask for, and the faults that befall them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN, READER, STRANGER = "hf_loopbackwriter1", "hf_loopbackreader1", "hf_loopbackstranger"
USERS = {TOKEN: ("tester", "write"), READER: ("tester", "read"), STRANGER: ("stranger", "write")}

MAIN = "refs/heads/main"
CARD = re.compile(rb"\A---\n(.*?)\n---\n", re.S)


@dataclass
class Fault:
    """What is to go wrong, and how often.

    Parameters
    ----------
    match : of "METHOD /path"
    times : how many requests it befalls
    after : how many matching requests go well before
    status : answered with this, and not done
    lose : done, but never answered
    cut_body : the connection is cut after so many bytes of what is sent
    cut_answer : the connection is reset after so many bytes of what is answered
    hold : the request waits, before anything is done, until `Hub.released` is set
    """

    match: str
    times: int = 1
    after: int = 0
    status: int = 0
    lose: bool = False
    cut_body: int = -1
    cut_answer: int = -1
    hold: bool = False


@dataclass
class Commit:
    id: str
    files: dict[str, bytes]
    parent: str | None


@dataclass
class Repo:
    refs: dict[str, str]
    commits: dict[str, Commit]
    private: bool = False
    gated: bool = False

    def find(self, rev: str) -> Commit | None:
        for ref in (rev, f"refs/heads/{rev}", f"refs/tags/{rev}"):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        return self.commits.get(rev)

    def head(self, rev: str = "main") -> dict[str, bytes]:
        """The files of a branch."""
        found = self.find(rev)
        assert found is not None, rev
        return {name: data for name, data in found.files.items() if name != ".gitattributes"}

    def add(self, files: dict[str, bytes], parent: str | None, ref: str) -> Commit:
        id = hashlib.sha1(f"{len(self.commits)} {parent} {sorted(files)}".encode()).hexdigest()
        self.commits[id] = Commit(id, files, parent)
        self.refs[ref] = id
        return self.commits[id]


class Answer(Exception):
    """An answer other than a plain 200."""

    def __init__(self, status: int, said: Any = "", **headers: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Cut(Exception):
    """The connection is to end now."""


@dataclass
class Hub:
    """The state of it all; `requests` has every "METHOD /path" that came."""

    repos: dict[str, Repo] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)
    endpoint: str = ""

    def fault(self, request: str) -> Fault | None:
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if not re.search(fault.match, request):
                    continue
                if fault.after:
                    fault.after -= 1
                elif fault.times:
                    fault.times -= 1
                    return fault
        return None

    def create(self, repo_id: str, files: Mapping[str, bytes] | None = None, **about: bool) -> Repo:
        repo = Repo({}, {}, **about)
        first = repo.add({".gitattributes": b"*.safetensors filter=lfs\n"}, None, MAIN)
        if files:
            repo.add({**first.files, **files}, first.id, MAIN)
        self.repos[repo_id] = repo
        return repo

    def environment(self, home: Any, token: str | None = TOKEN) -> dict[str, str]:
        """What a child process needs in order to find this Hub, and nothing else of the kind."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "NLPTL_", "TRANSFORMERS_"))}
        more = {"HF_TOKEN": token} if token else {}
        return {
            **kept, **more, "HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "NLPTL_CACHE": f"{home}/nlptl",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "OMP_NUM_THREADS": "1", "no_proxy": "127.0.0.1",
        }  # fmt: skip


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news; anything else is a fault of this file, and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def loopback() -> Iterator[Hub]:
    """A Hub that serves until the block ends."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    server.block_on_close = False
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `Hub.requests` is the log."""

    def serve(self) -> None:
        parts = urlsplit(self.path)
        self.route, self.query = unquote(parts.path), parse_qs(parts.query)
        fault = self.hub.fault(f"{self.command} {self.route}")
        self.cut_answer, self.lose = -1, False
        try:
            self.reply(*self.outcome(fault))
        except (Cut, ConnectionError):
            self.end()

    def outcome(self, fault: Fault | None) -> tuple[int, Any, Mapping[str, str]]:
        """Status, content and headers of the answer to this request."""
        if fault is not None and fault.hold:
            self.hub.held.set()
            self.hub.released.wait(60)
        body = self.body(-1 if fault is None else fault.cut_body)
        try:
            if fault is not None:
                self.cut_answer, self.lose = fault.cut_answer, fault.lose
                if fault.status:
                    raise Answer(fault.status, "not now", Retry_After="0")
            return 200, self.answer(body), {}
        except Answer as answer:
            return answer.status, answer.said, answer.headers

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def end(self) -> None:
        """Reset the connection: whoever reads on gets an error and no end of file."""
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        except OSError:
            pass

    def body(self, cut: int) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            size = int(self.headers.get("Content-Length") or 0)
            if cut >= 0:
                self.rfile.read(min(cut, size))
                raise Cut
            data = self.rfile.read(size)
            if len(data) < size:  # the client has gone: what it did not say in full is not done
                raise Cut
            return data
        data = b""
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            data += self.rfile.read(size)
            self.rfile.readline()
            if 0 <= cut <= len(data):
                raise Cut
        self.rfile.readline()
        return data

    def reply(self, status: int, said: Any, headers: Mapping[str, str]) -> None:
        if self.lose:
            raise Cut
        if isinstance(said, str):
            said = {"error": said}
        error = str(said.get("error", "")) if isinstance(said, dict) else ""
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        sent = {
            "Content-Length": str(len(data)),
            "X-Error-Message": error,
            **headers,
        }
        for name, value in sent.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            if self.cut_answer >= 0:
                self.wfile.write(data[: self.cut_answer])
                self.wfile.flush()
                raise Cut
            self.wfile.write(data)

    # ---------------------------------------------------------------------------------------------- who, what, where
    def user(self) -> tuple[str, str] | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in USERS:
            raise Answer(401, "Invalid credentials in Authorization header")
        return USERS.get(token)

    def repo(self, repo_id: str, *, write: bool = False, pr: bool = False) -> Repo:
        user, repo = self.user(), self.hub.repos.get(repo_id)
        if repo is None or (repo.private and (user is None or user[0] != repo_id.split("/")[0])):
            raise Answer(401 if user is None else 404, "Repository not found", X_Error_Code="RepoNotFound")
        if write and (user is None or user[1] != "write" or (user[0] != repo_id.split("/")[0] and not pr)):
            raise Answer(403, "Forbidden: you have no right to write here")
        return repo

    def commit_of(self, repo: Repo, rev: str) -> Commit:
        found = repo.find(rev)
        if found is None:
            raise Answer(404, f"Invalid rev id: {rev}", X_Error_Code="RevisionNotFound")
        return found

    def answer(self, body: bytes) -> Any:
        method = "GET" if self.command == "HEAD" else self.command
        for verb, pattern, action in ROUTES:
            match = re.fullmatch(pattern, self.route)
            if verb == method and match:
                with self.hub.lock:
                    return action(self, body, *match.groups())
        raise Answer(404, "no such page")

    def whoami(self, body: bytes) -> Any:
        user = self.user()
        if user is None:
            raise Answer(401, "Invalid username or password.")
        return {"type": "user", "name": user[0], "orgs": [], "auth": {"accessToken": {"role": user[1]}}}

    def validate(self, body: bytes) -> Any:
        match = CARD.match(json.loads(body)["content"].encode())
        card = yaml.safe_load(match[1]) if match else None
        if not isinstance(card, dict):
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(card.get("base_model", "a"))):
            raise Answer(400, "base_model is not valid")
        return {"errors": [], "warnings": []}

    def create(self, body: bytes) -> Any:
        given, user = json.loads(body), self.user()
        repo_id = f"{given.get('organization') or (user or ('',))[0]}/{given['name']}"
        if user is None or user[1] != "write" or user[0] != repo_id.split("/")[0]:
            raise Answer(403, "You don't have the rights to create a model under this namespace")
        said = {"url": f"{self.hub.endpoint}/{repo_id}", "name": repo_id, "id": "1"}
        if repo_id in self.hub.repos:
            raise Answer(409, said)
        self.hub.create(repo_id, private=given.get("visibility") == "private")
        return said

    def info(self, body: bytes, repo_id: str, rev: str = "main") -> Any:
        repo = self.repo(repo_id)
        commit = self.commit_of(repo, rev)
        files = [{"rfilename": name, **self.entry(name, data)} for name, data in sorted(commit.files.items())]
        return {
            "_id": "1", "id": repo_id, "modelId": repo_id, "sha": commit.id, "private": repo.private, "tags": [],
            "downloads": 0, "gated": repo.gated, "siblings": files,
        }  # fmt: skip

    def entry(self, name: str, data: bytes) -> dict[str, Any]:
        row: dict[str, Any] = {"oid": git_id(data), "blobId": git_id(data), "size": len(data)}
        if is_lfs(name, data):
            sha = hashlib.sha256(data).hexdigest()
            row["lfs"] = {"oid": sha, "sha256": sha, "size": len(data), "pointerSize": 130}
        return row

    def tree(self, body: bytes, repo_id: str, rev: str, path: str | None = None) -> Any:
        files = self.commit_of(self.repo(repo_id), rev).files
        rows = [{"type": "file", "path": n, **self.entry(n, d)} for n, d in files.items() if n.startswith(path or "")]
        if path and not rows:
            raise Answer(404, "not there", X_Error_Code="EntryNotFound")
        return rows

    def refs(self, body: bytes, repo_id: str) -> Any:
        rows: dict[str, list[dict[str, str]]] = {"heads": [], "tags": [], "pr": []}
        for ref, commit in self.repo(repo_id).refs.items():
            _, kind, name = ref.split("/", 2)
            rows[kind].append({"name": name, "ref": ref, "targetCommit": commit})
        return {"branches": rows["heads"], "tags": rows["tags"], "pullRequests": rows["pr"], "converts": []}

    def branch(self, body: bytes, repo_id: str, name: str) -> Any:
        repo = self.repo(repo_id, write=True)
        if f"refs/heads/{name}" in repo.refs:
            raise Answer(409, "Reference already exists")
        repo.refs[f"refs/heads/{name}"] = repo.refs[MAIN]
        return {}

    def tag(self, body: bytes, repo_id: str, rev: str) -> Any:
        repo, name = self.repo(repo_id, write=True), json.loads(body)["tag"]
        if f"refs/tags/{name}" in repo.refs:
            raise Answer(409, "Tag already exists")
        repo.refs[f"refs/tags/{name}"] = self.commit_of(repo, rev).id
        return {}

    def wants_pr(self) -> bool:
        return self.query.get("create_pr", [""])[0] in ("1", "true")

    def preupload(self, body: bytes, repo_id: str, rev: str) -> Any:
        repo, given = self.repo(repo_id, write=True, pr=self.wants_pr()), json.loads(body)
        ignored = given.get("gitIgnore", self.commit_of(repo, rev).files.get(".gitignore", b"").decode()).split()
        modes = [
            {
                "path": row["path"],
                "uploadMode": "lfs" if is_lfs(row["path"], base64.b64decode(row["sample"])) else "regular",
                "shouldIgnore": any(row["path"].endswith(end.lstrip("*")) for end in ignored),
            }
            for row in given["files"]
        ]
        return {"files": modes, "commitOid": self.commit_of(repo, rev).id}

    def batch(self, body: bytes, repo_id: str) -> Any:
        self.repo(repo_id, write=True, pr=True)
        rows = []
        for row in json.loads(body)["objects"]:
            out = {"oid": row["oid"], "size": row["size"]}
            if row["oid"] not in self.hub.lfs:
                out["actions"] = {"upload": {"href": f"{self.hub.endpoint}/lfs/{row['oid']}"}}
            rows.append(out)
        return {"transfer": "basic", "objects": rows, "hash_algo": "sha256"}

    def store(self, body: bytes, oid: str) -> Any:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Answer(400, "BadDigest")
        self.hub.lfs[oid] = body
        return {}

    def commit(self, body: bytes, repo_id: str, rev: str) -> Any:
        repo = self.repo(repo_id, write=True, pr=self.wants_pr())
        header, *operations = [json.loads(line) for line in body.splitlines() if line.strip()]
        head, parent = self.commit_of(repo, rev), header["value"].get("parentCommit")
        if parent and parent != head.id:
            raise Answer(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
            else:
                del files[value["path"]]
        number = sum(ref.startswith("refs/pr/") for ref in repo.refs) + 1
        made = repo.add(files, head.id, f"refs/pr/{number}" if self.wants_pr() else f"refs/heads/{rev}")
        url = f"{self.hub.endpoint}/{repo_id}"
        said = {"success": True, "commitOid": made.id, "commitUrl": f"{url}/commit/{made.id}"}
        return said | ({"pullRequestUrl": f"{url}/discussions/{number}"} if self.wants_pr() else {})

    def resolve(self, body: bytes, repo_id: str, rev: str, path: str) -> Any:
        repo = self.repo(repo_id)
        if repo.gated:
            raise Answer(403, "Access to this model is restricted", X_Error_Code="GatedRepo")
        commit = self.commit_of(repo, rev)
        if path not in commit.files:
            raise Answer(404, "Entry not found", X_Error_Code="EntryNotFound", X_Repo_Commit=commit.id)
        data = commit.files[path]
        sha = hashlib.sha256(data).hexdigest() if is_lfs(path, data) else git_id(data)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        more = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        raise Answer(206 if start else 200, data[start:], ETag=f'"{sha}"', X_Repo_Commit=commit.id, **more)


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_lfs(name: str, data: bytes) -> bool:
    return name.endswith((".safetensors", ".skops")) or b"\0" in data[:512]


ID = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/validate-yaml", Handler.validate),
    ("POST", "/api/repos/create", Handler.create),
    ("GET", f"/api/models/{ID}", Handler.info),
    ("GET", f"/api/models/{ID}/revision/(.+)", Handler.info),
    ("GET", f"/api/models/{ID}/refs", Handler.refs),
    ("GET", f"/api/models/{ID}/tree/([^/]+)(?:/(.+))?", Handler.tree),
    ("POST", f"/api/models/{ID}/branch/(.+)", Handler.branch),
    ("POST", f"/api/models/{ID}/tag/(.+)", Handler.tag),
    ("POST", f"/api/models/{ID}/preupload/(.+)", Handler.preupload),
    ("POST", f"/api/models/{ID}/commit/(.+)", Handler.commit),
    ("POST", f"/{ID}\\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", "/lfs/([0-9a-f]{64})", Handler.store),
    ("GET", f"/{ID}/resolve/([^/]+)/(.+)", Handler.resolve),
]
