#!/usr/bin/env python3
"""Checks checkpoints, proofs and exports of a keyledger log. Written from docs/log.md alone; needs nothing but Python 3.

verify_log.py checkpoint NOTE KEY
verify_log.py inclusion PROOF NOTE KEY          PROOF: the answer of /v1/log/proofs/inclusion
verify_log.py consistency PROOF OLD NEW KEY     PROOF: the answer of /v1/log/proofs/consistency
verify_log.py export FILE NOTE KEY

Each argument names a file. Exit code 1, and the cause on stderr, when something is wrong.
"""

import base64
import binascii
import hashlib
import json
import sys
from datetime import datetime, timedelta, timezone


class Bad(Exception):
    pass


def need(condition, cause):
    if not condition:
        raise Bad(cause)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text):
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise Bad("not base64") from None
    need(base64.b64encode(data).decode() == text, "not the one base64 of its bytes")
    return data


def unhex(text, length):
    need(isinstance(text, str) and text == text.lower() and len(text) == 2 * length, "not hex of %d bytes" % length)
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Bad("not hex") from None


# Ed25519 (RFC 8032, section 5.1), the checking of signatures only.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    s = (a[1] - a[0]) * (b[1] - b[0]) % P
    t = (a[1] + a[0]) * (b[1] + b[0]) % P
    u = 2 * a[3] * b[3] * D % P
    v = 2 * a[2] * b[2] % P
    e, f, g, h = t - s, v - u, v + u, t + s
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def same(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    return same(times(s, BASE), add(r, times(k, a)))


# Checkpoints.

DASH = "\u2014 "


def key_id(name, public):
    return sha256(name.encode(), b"\n\x01", public)[:4]


def read_key(text):
    name, ident, key = text.strip().split("+", 2)
    data = unbase64(key)
    need(len(data) == 33 and data[0] == 1, "the key is not of Ed25519")
    need(key_id(name, data[1:]).hex() == ident, "the key's id is not that of its name and key")
    return name, data[1:]


def read_checkpoint(note, key):
    name, public = key
    need("\n\n" in note and note.endswith("\n"), "not a signed note")
    text, lines = note.rsplit("\n\n", 1)
    text += "\n"
    need(all(ord(letter) >= 32 or letter == "\n" for letter in note), "a control character in the note")
    parts = text.split("\n")
    need(len(parts) >= 4 and all(parts[:-1]), "a checkpoint has three lines")
    origin, size, root = parts[:3]
    # The epoch is part of the name, the vault is the same.
    need(origin.split("/")[:2] == name.split("/")[:2] and origin.count("/") == 2, "the checkpoint is of another vault than the key")
    need(size.isdigit() and size.isascii() and str(int(size)) == size and int(size) < 2**64, "the size is no number")
    root = unbase64(root)
    need(len(root) == 32, "the root has not 32 bytes")
    good = False
    for line in lines[:-1].split("\n"):
        need(line.startswith(DASH), "a line of a signature begins otherwise")
        signer, _, encoded = line[len(DASH) :].partition(" ")
        need(signer and encoded, "a signature has no name")
        data = unbase64(encoded)
        if signer == origin and data[:4] == key_id(origin, public):
            need(signed(public, text.encode(), data[4:]), "the signature is wrong")
            good = True
    need(good, "not signed by this key")
    return origin, int(size), root


# The tree.


def leaf_hash(record):
    return sha256(b"\x00", record)


def node(left, right):
    return sha256(b"\x01", left, right)


class Tree:
    """The roots of the full subtrees of a tree that grows, with how many leaves each has."""

    def __init__(self):
        self.size, self.full = 0, []

    def take(self, root, count=1):
        need(count >= 1 and count & (count - 1) == 0 and self.size % count == 0, "no full subtree that begins here")
        self.size += count
        while self.full and self.full[-1][1] == count:
            root, count = node(self.full.pop()[0], root), 2 * count
        self.full.append((root, count))

    def root(self):
        if not self.full:
            return sha256()
        result = self.full[-1][0]
        for left, _ in reversed(self.full[:-1]):
            result = node(left, result)
        return result


def check_inclusion(value, leaf, size, proof, root):
    """RFC 9162, section 2.1.3.2."""
    need(leaf < size, "a tree of %d leaves has no leaf %d" % (size, leaf))
    fn, sn = leaf, size - 1
    for step in proof:
        need(sn != 0, "the proof is too long")
        if fn & 1 or fn == sn:
            value = node(step, value)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            value = node(value, step)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and value == root, "the proof does not lead to the root")


def check_consistency(first, first_root, second, second_root, proof):
    """RFC 9162, section 2.1.4.2."""
    need(0 < first <= second, "a proof goes from 1 leaf or more to as many or more")
    if first == second:
        need(not proof and first_root == second_root, "two roots of one size")
        return
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    need(path, "the proof is empty")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for step in path[1:]:
        need(sn != 0, "the proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node(step, fr), node(step, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, step)
        fn, sn = fn >> 1, sn >> 1
    need(fr == first_root, "the proof does not lead to the older root")
    need(sr == second_root and sn == 0, "the proof does not lead to the newer root")


# Records.


class Fields:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "the record is cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count):
        return int.from_bytes(self.take(count), "big")

    def name(self):
        length = self.number(1)
        need(length, "an empty name")
        return self.take(length).decode()

    def maybe(self):
        present = self.number(1)
        need(present in (0, 1), "neither there nor not")
        return self.take(32) if present else None


def read_record(data):
    f, r = Fields(data), {}
    need(f.number(1) == 1, "an unknown format")
    for name in ("position", "previous", "recorded_at", "version", "content_version"):
        r[name] = f.number(8)
    r["commitment"] = f.take(32)
    need(f.number(1) == 1, "an unknown suite")
    r["epoch"] = (f.number(4), f.take(16))
    r["event"], r["tenant"], r["stream"] = f.take(16), f.take(16), f.take(16)
    need((number := f.number(1)) in (0, 1), "an unknown class")
    r["class"] = ("change", "observation")[number]
    r["kind"], r["type"], r["actor"] = f.name(), f.name(), f.take(16)
    r["command"], r["request"] = f.maybe(), f.maybe()
    r["group"] = (f.take(16), f.number(4), f.number(4))
    r["causation"] = f.number(8)
    for _ in range(f.number(2)):
        need(f.number(1) in (0, 1), "a claim neither taken nor freed")
        f.take(32)
    r["facts_key"] = f.take(16)
    secrets = f.number(1)
    for _ in range(secrets):
        f.name(), f.take(16), f.take(16)
    for _ in range(f.number(2)):
        f.take(16)
    for _ in range(1 + secrets):
        f.take(f.number(4))
    need(f.at == len(data), "bytes follow the record")
    return r


class Chain:
    """What follows what. Leaves that are passed over may hold anything of what is not seen."""

    def __init__(self):
        self.last, self.group, self.streams = None, None, {}
        self.gap, self.hidden_from = 0, None

    def passed(self, count):
        self.gap += count
        self.hidden_from, self.group = (self.last["position"] if self.last else 0), None

    def take(self, r):
        head = self.last["position"] if self.last else 0
        least = head + self.gap + 1
        if self.last and r["epoch"] == self.last["epoch"]:
            need(r["position"] == least, "position %d, not %d" % (r["position"], least))
        elif self.gap:
            need(r["position"] >= least, "a position before %d" % least)
            need(not self.last or r["epoch"][0] > self.last["epoch"][0], "an earlier epoch")
        elif self.last:
            begins = r["kind"] == "vault" and r["type"] in ("restored", "loss_accepted") and r["group"][1] == 0
            need(begins, "another epoch, and no restore and no loss")
            need(r["epoch"][0] > self.last["epoch"][0] and r["causation"] == head and r["position"] >= least, "an epoch that goes on from something else")
        else:
            need(r["position"] == 1, "the first position is not 1")
        need(not self.last or r["recorded_at"] >= self.last["recorded_at"], "recorded before the one before it")
        ident, index, count = r["group"]
        if self.group and self.group[1] + 1 < self.group[2]:
            need((ident, index, count) == (self.group[0], self.group[1] + 1, self.group[2]), "a group is not whole")
            need(r["recorded_at"] == self.last["recorded_at"], "a group at two times")
        elif not self.gap:
            need(index == 0, "the first of a group is missing")
        need(index < count and (index == 0 or r["command"] is None), "a group that is none")
        self.stream(r)
        self.streams[r["stream"]], self.last, self.group, self.gap = r, r, r["group"], 0

    def stream(self, r):
        before = self.streams.get(r["stream"])
        since = before["position"] if before else 0
        content = before["content_version"] if before else 0
        follows = r["previous"] == since and r["version"] == (before["version"] if before else 0) + 1
        # Some of the stream's own events may be among what is not shown.
        unseen = self.hidden_from is not None and self.hidden_from >= since and since < r["previous"] < r["position"]
        need(follows or (unseen and r["version"] > 1), "events of its stream are missing before it")
        if before:
            need((r["tenant"], r["facts_key"]) == (before["tenant"], before["facts_key"]), "its stream changed its owner")
        if r["class"] == "change":
            need(r["content_version"] == r["version"], "a change that does not move the content version")
        elif follows:
            need(r["content_version"] == content, "an observation that moves the content version")
        else:
            need(content <= r["content_version"] < r["version"], "a content version out of order")

    def end(self):
        need(not self.group or self.group[1] + 1 == self.group[2], "the log ends inside a group")


# Exports.

STATED = {"leaf", "position", "recorded_at", "epoch", "kind", "type", "class", "tenant", "stream", "version", "content_version", "actor", "group", "causation"}


def check_line(line, size, public):
    record = unbase64(line["record"])
    need(leaf_hash(record) == unhex(line["hash"], 32), "the record does not have its hash")
    r = read_record(record)
    instant = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=r["recorded_at"])
    stated = {name: r[name] for name in ("position", "kind", "type", "class", "version", "content_version", "causation")}
    stated.update({name: r[name].hex() for name in ("tenant", "stream", "actor")})
    stated.update(leaf=size, epoch=r["epoch"][0], recorded_at=instant.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (instant.microsecond // 1000))
    stated["group"] = {"id": r["group"][0].hex(), "index": r["group"][1], "count": r["group"][2]}
    need({name: line.get(name) for name in STATED} == stated, "what is shown is not what the record says")
    check_facts(line, r, public)
    need(set(line) <= STATED | {"hash", "record", "facts", "opening", "withheld"}, "an unknown member")
    return r


def check_facts(line, r, public):
    opening, withheld = line.get("opening"), line.get("withheld")
    if withheld == "unreadable":
        need("facts" not in line and opening is None, "unreadable facts that are shown")
        return
    text = opening["facts"]
    need(json.loads(text) == line["facts"], "the facts shown are not those opened")
    if withheld is None:
        need(set(opening) == {"facts", "salt"}, "an opening without a salt")
        commitment = sha256(b"keyledger/v1/facts-commitment", unhex(opening["salt"], 32), text.encode())
        need(commitment == r["commitment"], "the facts are not those recorded")
    else:
        need(withheld == "verifiers" and set(opening) == {"facts", "signature"}, "facts neither opened nor signed")
        message = b"keyledger/v1/shown" + unhex(line["hash"], 32) + text.encode()
        need(signed(public, message, unbase64(opening["signature"])), "the facts are not what the log signed")


def check_export(lines, checkpoint, public):
    _, size, root = checkpoint
    tree, chain, number = Tree(), Chain(), 0
    for number, text in enumerate(lines, 1):
        try:
            need(text.endswith("\n"), "the line is cut short")
            line = json.loads(text)
            need(line["leaf"] == tree.size, "leaf %s, not %d" % (line["leaf"], tree.size))
            if "record" in line:
                chain.take(check_line(line, tree.size, public))
                tree.take(unhex(line["hash"], 32))
            else:
                need(set(line) == {"leaf", "count", "hash"}, "an unknown member")
                tree.take(unhex(line["hash"], 32), line["count"])
                chain.passed(line["count"])
            need(tree.size <= size, "the file goes on after the checkpoint's last leaf")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Bad("line %d: %s" % (number, error)) from None
        except Bad as error:
            raise Bad("line %d: %s" % (number, error)) from None
    need(tree.size == size, "the file ends after %d of %d leaves" % (tree.size, size))
    need(tree.root() == root, "the root of the file is not that of the checkpoint")
    chain.end()
    return number


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def main(arguments):
    verb, *files = arguments
    key = read_key(read(files[-1]))
    notes = files[:-1] if verb == "checkpoint" else files[1:-1]
    checkpoints = [read_checkpoint(read(file), key) for file in notes]
    origin, size, root = checkpoints[-1]
    if verb == "inclusion":
        shown = json.loads(read(files[0]))
        need(shown["size"] == size, "the proof leads to %d leaves, the checkpoint is of %d" % (shown["size"], size))
        check_inclusion(unhex(shown["hash"], 32), shown["leaf"], size, [unhex(step, 32) for step in shown["proof"]], root)
    elif verb == "consistency":
        proof = [unhex(step, 32) for step in json.loads(read(files[0]))["proof"]]
        check_consistency(checkpoints[0][1], checkpoints[0][2], size, root, proof)
    elif verb == "export":
        with open(files[0], encoding="utf-8", newline="\n") as lines:
            check_export(lines, checkpoints[0], key[1])
    else:
        need(verb == "checkpoint", __doc__)
    print("ok: %s, %d leaves, root %s" % (origin, size, root.hex()))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Bad, OSError, UnicodeDecodeError) as error:
        print("bad: %s" % error, file=sys.stderr)
        sys.exit(1)
