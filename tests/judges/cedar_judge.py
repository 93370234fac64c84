#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the policy engine with the official Cedar build (PyPI cedarpy, pinned in requirements.txt).

usage: cedar_judge.py TOOL [--seed N] [--sets N] [--texts N] [--schemas N]

Four comparisons, all from one seed, which is printed:
  decisions  generated sets of policies (permit and forbid, templates and links) over a generated
             hierarchy: decision, determining policies, erroring policies of every request, and
             that what strict mode allows, the language allows
  texts      mutated policy texts: accepted by both or by neither; what is accepted is printed, read
             again by the official build and means the same to it
  schemas    mutated schemas: accepted by both or by neither
  entities   mutated entity lists and contexts: the same
Exit 0 when nothing differs.
"""
import argparse
import json
import random
import subprocess
import sys

import cedarpy

TYPES = ["User", "Group", "Doc", "Folder", "N::User"]
ATTRS = ["n", "m", "s", "t", "b", "c", "set", "ids", "rec", "e", "ip", "at", "dur", "dec", "two words", "if"]
STRINGS = ["", "a", "b", "ab", "a*c", "abc", "\u65e5\u672c", "e\u0301", "\u00e9", "quote\"s", "back\\slash", "line\nbreak", "x" * 40]
IPS = ["127.0.0.1", "10.0.0.1", "10.0.0.0/8", "10.1.0.0/16", "::1", "::/0", "ff02::1", "224.0.0.1/32", "1.1.1.1/33", "x",
       "1:2:3:4:5:6:7::", "0.0.0.0/0", "127.0.0.1/7", "fe80::/10", "::1/128", "01.1.1.1", "1.1.1.1/08"]
DATES = ["2024-01-01", "1969-12-31T23:00:00Z", "2024-02-29T12:34:56.789+0130", "2024-02-30", "0000-01-01", "9999-12-31T23:59:59.999Z",
         "2024-01-01T00:00:00+2359", "2024-01-01T24:00:00Z", "1970-01-01T00:00:00.000Z", "2023-02-29"]
DURATIONS = ["1h", "-1h", "1d2h3m4s5ms", "0ms", "90s", "1m30s", "1s1m", "", "-", "106751991167d7h12m55s807ms", "106751991167d7h12m55s808ms"]
DECIMALS = ["1.0", "1.5", "-0.5", "0.0001", "922337203685477.5807", "922337203685477.5808", "1", "1.23456", "-922337203685477.5808"]
LONGS = [0, 1, 2, -1, 7, 9223372036854775807, -9223372036854775808, 3037000500]


def quoted(s):
    out = '"'
    for ch in s:
        out += {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\t": "\\t"}.get(ch, ch)
    return out + '"'


class Gen:
    """Random worlds. Expressions are mostly well typed, and wrong on purpose now and then."""

    def __init__(self, rng):
        self.r = rng

    def pick(self, xs):
        return self.r.choice(xs)

    def uid(self):
        return self.pick(TYPES), "e%d" % self.r.randrange(5)

    def uid_text(self, uid=None):
        t, i = uid or self.uid()
        return "%s::%s" % (t, quoted(i))

    def action(self):
        return self.pick(["Action", "Action", "N::Action"]), self.pick(["read", "write", "any", "some"])

    # --- values as JSON -------------------------------------------------------------------------
    def value(self, kind, depth=0):
        if kind in ("n", "m"):
            return self.pick(LONGS)
        if kind in ("s", "t"):
            return self.pick(STRINGS)
        if kind in ("b", "c"):
            return self.r.random() < 0.5
        if kind == "e":
            t, i = self.uid()
            return {"__entity": {"type": t, "id": i}}
        if kind == "set":
            return [self.pick([1, 2, "a", "b", True, [1], {"a": 1}]) for _ in range(self.r.randrange(4))]
        if kind == "ids":
            return [self.value("e") for _ in range(self.r.randrange(4))]
        if kind == "rec":
            return {k: self.value(self.pick(ATTRS), depth + 1) for k in self.r.sample(ATTRS, self.r.randrange(4))} if depth < 2 else {}
        if kind == "ip":
            return {"__extn": {"fn": "ip", "arg": self.pick(IPS[:8])}}
        if kind == "at":
            return {"__extn": {"fn": "datetime", "arg": self.pick(DATES[:3])}}
        if kind == "dur":
            return {"__extn": {"fn": "duration", "arg": self.pick(DURATIONS[:6])}}
        if kind == "dec":
            return {"__extn": {"fn": "decimal", "arg": self.pick(DECIMALS[:5])}}
        return self.value(self.pick(ATTRS[:13]), depth + 1)

    def record(self):
        return {k: self.value(k) for k in ATTRS if self.r.random() < 0.6}

    def entities(self):
        out = []
        order = {"Folder": 0, "Group": 0, "User": 1, "N::User": 1, "Doc": 1}
        for t in TYPES:
            for i in range(5):
                if self.r.random() < 0.25:
                    continue
                parents = []
                for p in TYPES:
                    for k in range(5):
                        lower = (order[p], -k) < (order[t], -i) if p == t or order[p] == order[t] else order[p] < order[t]
                        if lower and (p == t or order[p] == 0) and self.r.random() < 0.12:
                            parents.append({"type": p, "id": "e%d" % k})
                en = {"uid": {"type": t, "id": "e%d" % i}, "attrs": self.record(), "parents": parents}
                if self.r.random() < 0.5:
                    en["tags"] = {k: self.value(k) for k in self.r.sample(ATTRS, 4)}
                out.append(en)
        for ns in ("Action", "N::Action"):
            out.append({"uid": {"type": ns, "id": "read"}, "attrs": {}, "parents": [{"type": ns, "id": "any"}]})
            out.append({"uid": {"type": ns, "id": "write"}, "attrs": {}, "parents": [{"type": ns, "id": "any"}, {"type": ns, "id": "some"}]})
            out.append({"uid": {"type": ns, "id": "some"}, "attrs": {}, "parents": [{"type": "Action", "id": "all"}]})
        return out

    # --- expressions ----------------------------------------------------------------------------
    def var(self):
        return self.pick(["principal", "action", "resource"])

    def attr(self, base, kind):
        return '%s["%s"]' % (base, kind) if kind in ("two words", "if") or self.r.random() < 0.2 else "%s.%s" % (base, kind)

    def holder(self, depth):
        return self.pick(["principal", "resource", "context", self.uid_text()] + (["%s.e" % self.var(), "context.rec"] if depth else []))

    def expr(self, kind, depth):
        if self.r.random() < 0.03:
            kind = self.pick(["long", "string", "bool", "entity", "set", "ip", "time", "span", "decimal", "record"])
        if depth and self.r.random() < 0.06:
            return "(if %s then %s else %s)" % (self.expr("bool", depth - 1), self.expr(kind, depth - 1), self.expr(kind, depth - 1))
        return getattr(self, "x_" + kind)(depth - 1 if depth else 0, depth == 0)

    def x_long(self, d, leaf):
        a = [lambda: "(%d)" % self.pick(LONGS), lambda: self.attr(self.holder(d), self.pick(["n", "m"]))]
        if not leaf:
            a += [lambda: "(%s %s %s)" % (self.expr("long", d), self.pick("+-*"), self.expr("long", d)),
                  lambda: "(-(%s))" % self.expr("long", d),
                  lambda: "%s.to%s()" % (self.expr("span", d), self.pick(["Milliseconds", "Seconds", "Minutes", "Hours", "Days"]))]
        return self.pick(a)()

    def x_string(self, d, leaf):
        a = [lambda: quoted(self.pick(STRINGS)), lambda: self.attr(self.holder(d), self.pick(["s", "t"]))]
        if not leaf:
            a += [lambda: "%s.getTag(%s)" % (self.expr("entity", d), self.expr("string", d))]
        return self.pick(a)()

    def x_entity(self, d, leaf):
        a = [self.var, self.var, self.uid_text, lambda: self.attr(self.holder(d), "e")]
        return self.pick(a)()

    def x_set(self, d, leaf):
        kind = self.pick(["long", "string", "entity", "bool", "set"] if not leaf else ["long", "string", "entity"])
        a = [lambda: "[%s]" % ", ".join(self.expr(kind, d) for _ in range(self.r.randrange(4))),
             lambda: self.attr(self.holder(d), self.pick(["set", "ids"]))]
        return self.pick(a)()

    def x_record(self, d, leaf):
        a = [lambda: "{%s}" % ", ".join("%s: %s" % (quoted(k), self.expr(self.pick(["long", "string", "set"]), d))
                                         for k in self.r.sample(ATTRS, self.r.randrange(3))),
             lambda: self.attr(self.holder(d), "rec"), lambda: "context"]
        return self.pick(a)()

    def x_ip(self, d, leaf):
        return self.pick([lambda: "ip(%s)" % quoted(self.pick(IPS)), lambda: self.attr(self.holder(d), "ip")])()

    def x_time(self, d, leaf):
        a = [lambda: "datetime(%s)" % quoted(self.pick(DATES)), lambda: self.attr(self.holder(d), "at")]
        if not leaf:
            a += [lambda: "%s.offset(%s)" % (self.expr("time", d), self.expr("span", d)), lambda: "%s.toDate()" % self.expr("time", d)]
        return self.pick(a)()

    def x_span(self, d, leaf):
        a = [lambda: "duration(%s)" % quoted(self.pick(DURATIONS)), lambda: self.attr(self.holder(d), "dur")]
        if not leaf:
            a += [lambda: "%s.durationSince(%s)" % (self.expr("time", d), self.expr("time", d)), lambda: "%s.toTime()" % self.expr("time", d)]
        return self.pick(a)()

    def x_decimal(self, d, leaf):
        return self.pick([lambda: "decimal(%s)" % quoted(self.pick(DECIMALS)), lambda: self.attr(self.holder(d), "dec")])()

    def pattern(self):
        return '"%s"' % "".join(self.pick(["*", "a", "b", "c", "\\*", "\u65e5", "\\u{e9}", "x", "**", "*x"]) for _ in range(self.r.randrange(5)))

    def x_bool(self, d, leaf):
        e = self.expr
        if leaf:
            return self.pick([lambda: "true", lambda: "false", lambda: self.attr(self.holder(d), self.pick(["b", "c"])),
                              lambda: "(%s has %s)" % (self.holder(d), self.pick(["n", "rec.n", "e.s", '"two words"', "zz"])),
                              lambda: "(%s is %s)" % (self.var(), self.pick(TYPES))])()
        same = self.pick(["long", "string", "entity", "set", "record", "ip", "time", "span", "decimal", "bool"])
        return self.pick([
            lambda: "(%s && %s)" % (e("bool", d), e("bool", d)), lambda: "(%s || %s)" % (e("bool", d), e("bool", d)),
            lambda: "(!(%s))" % e("bool", d), lambda: "(%s %s %s)" % (e(same, d), self.pick(["==", "!="]), e(same, d)),
            lambda: "(%s %s %s)" % (e("long", d), self.pick(["<", "<=", ">", ">="]), e("long", d)),
            lambda: "(%s %s %s)" % (e("time", d), self.pick(["<", "<=", ">", ">="]), e("time", d)),
            lambda: "(%s %s %s)" % (e("span", d), self.pick(["<", "<=", ">", ">="]), e("span", d)),
            lambda: "(%s in %s)" % (e("entity", d), self.pick([self.uid_text(), e("entity", d), "[%s, %s]" % (self.uid_text(), e("entity", d)), e("set", d)])),
            lambda: "(%s has %s)" % (self.pick([e("record", d), e("entity", d)]), self.pick(["n", "s", "rec.rec.n", "e.e", '"two words"', '"if"'])),
            lambda: "(%s like %s)" % (e("string", d), self.pattern()),
            lambda: "(%s is %s)" % (e("entity", d), self.pick(TYPES)),
            lambda: "(%s is %s in %s)" % (e("entity", d), self.pick(TYPES), self.pick([self.uid_text(), e("set", d)])),
            lambda: "%s.contains(%s)" % (e("set", d), e(self.pick(["long", "string", "entity"]), d)),
            lambda: "%s.%s(%s)" % (e("set", d), self.pick(["containsAll", "containsAny"]), e("set", d)),
            lambda: "%s.isEmpty()" % e("set", d), lambda: "%s.hasTag(%s)" % (e("entity", d), e("string", d)),
            lambda: "%s.%s()" % (e("ip", d), self.pick(["isIpv4", "isIpv6", "isLoopback", "isMulticast"])),
            lambda: "%s.isInRange(%s)" % (e("ip", d), e("ip", d)),
            lambda: "%s.%s(%s)" % (e("decimal", d), self.pick(["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"]), e("decimal", d)),
        ])()

    # --- policies -------------------------------------------------------------------------------
    def scope(self, var, slot):
        ref = ("?" + var) if slot else self.uid_text()
        forms = ["%s == %s" % (var, ref), "%s in %s" % (var, ref), "%s is %s in %s" % (var, self.pick(TYPES), ref)]
        return self.pick(forms if slot else forms + [var, var, var, "%s is %s" % (var, self.pick(TYPES))])

    def action_scope(self):
        def a():
            return self.uid_text(self.action())
        return self.pick(["action", "action", "action == " + a(), "action in " + a(), "action in [%s]" % ", ".join(a() for _ in range(self.r.randrange(4)))])

    def policy(self, slots=()):
        conds = " ".join("%s { %s }" % (self.pick(["when", "when", "unless"]), self.expr("bool", self.r.randrange(1, 4)))
                         for _ in range(self.r.choice([0, 1, 1, 2])))
        note = '@id("x%d") @note\n' % self.r.randrange(9) if self.r.random() < 0.2 else ""
        return "%s%s(%s, %s, %s) %s;" % (note, self.pick(["permit", "permit", "forbid"]), self.scope("principal", "principal" in slots),
                                         self.action_scope(), self.scope("resource", "resource" in slots), conds)

    def request(self):
        def u(x):
            return {"type": x[0], "id": x[1]}
        return {"principal": u(self.uid()), "action": u(self.action()), "resource": u(self.uid()), "context": self.record()}


class Tool:
    def __init__(self, path):
        self.p = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, case):
        self.p.stdin.write((json.dumps(case, ensure_ascii=True) + "\n").encode())
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            raise SystemExit("the tool ended, asked: %s" % json.dumps(case)[:2000])
        return json.loads(line)

    def close(self):
        self.p.stdin.close()
        return self.p.wait()


class Judge:
    def __init__(self, tool, show=10):
        self.tool, self.show, self.wrong, self.n = tool, show, 0, {}

    def count(self, what, n=1):
        self.n[what] = self.n.get(what, 0) + n

    def differs(self, what, *detail):
        self.wrong += 1
        if self.wrong <= self.show:
            print("DIFFERS", what, *detail, sep="\n  ")

    # --- decisions ------------------------------------------------------------------------------
    def decisions(self, g):
        n = g.r.randrange(1, 14)
        slots = [g.pick([(), (), (), (), ("principal",), ("resource",), ("principal", "resource")]) for _ in range(n)]
        text = "\n".join(g.policy(s) for s in slots)
        entities = g.entities()
        links, theirs = [], cedarpy.PolicySet.from_str(text)
        for i, s in enumerate(slots):
            for k in range(g.r.randrange(3) if s else 0):
                vals = {v: g.uid() for v in s}
                links.append({"template": "policy%d" % i, "id": "link%d-%d" % (i, k), "slots": {v: {"type": t, "id": e} for v, (t, e) in vals.items()}})
                theirs = link(theirs, links[-1])
        requests = [g.request() for _ in range(12)]
        ours = self.tool.ask({"policies": text, "entities": json.dumps(entities), "links": links,
                              "requests": [dict(q, context=json.dumps(q["context"])) for q in requests]})
        answers = cedarpy.is_authorized_batch(requests, theirs, entities)
        if "error" in ours:
            return self.differs("set", text, ours["error"])
        for q, a, b in zip(requests, answers, ours["results"]):
            self.count("decisions")
            self.count(str(a.decision))
            self.count("with errors", bool(a.diagnostics.errors))
            want = (str(a.decision).split(".")[1].lower(), sorted(a.diagnostics.reasons), sorted(error_id(e) for e in a.diagnostics.errors))
            got = (b.get("decision"), sorted(b.get("reasons", [])), sorted(e[0] for e in b.get("errors", [])))
            if want != got or (b["strict"] == "allow" and got[0] != "allow"):
                self.differs("decision", text, json.dumps(q), json.dumps(entities), "official %s" % (want,), "ours     %s" % (got,), a.diagnostics.errors, b)

    # --- acceptance -----------------------------------------------------------------------------
    def text(self, text):
        try:
            theirs = json.loads(cedarpy.policies_to_json_str(text))
        except ValueError as e:
            theirs, why = None, str(e)
        ours = self.tool.ask({"policies": text, "print": True})
        self.count("texts")
        self.count("texts accepted", theirs is not None)
        if (theirs is None) != ("error" in ours):
            return self.differs("text", repr(text), "official: %s" % (why if theirs is None else "accepts"), "ours: %s" % ours.get("error", "accepts"))
        if theirs is None:
            return None
        printed = "\n".join(ours["text"])
        try:
            again = json.loads(cedarpy.policies_to_json_str(printed))
        except ValueError as e:
            return self.differs("printed text", repr(text), repr(printed), str(e))
        if again != theirs:
            self.differs("meaning of the printed text", repr(text), repr(printed))
        return None

    def schema(self, text):
        try:
            cedarpy.Schema.from_str(text)
            theirs = None
        except ValueError as e:
            theirs = str(e)
        ours = self.tool.ask({"schema": text})
        self.count("schemas")
        self.count("schemas accepted", theirs is None)
        if (theirs is None) != ("error" not in ours):
            self.differs("schema", repr(text), "official: %s" % (theirs or "accepts"), "ours: %s" % ours.get("error", "accepts"))

    def entities(self, text):
        try:
            cedarpy.Entities.from_json_str(text)
            theirs = None
        except ValueError as e:
            theirs = str(e)
        ours = self.tool.ask({"entities": text, "plain_files": True})
        strict = self.tool.ask({"entities": text})
        self.count("entity lists")
        self.count("entity lists accepted", theirs is None)
        if (theirs is None) != ("error" not in ours):
            self.differs("entities", text, "official: %s" % (theirs or "accepts"), "ours: %s" % ours.get("error", "accepts"))
        if "error" in ours and "error" not in strict:
            self.differs("strict entities", text, ours["error"])


def link(policies, l):
    return policies.with_linked(l["template"], l["id"], {"?" + k: v for k, v in l["slots"].items()})


def error_id(text):
    return text.split("`")[1]


# --- mutation ---------------------------------------------------------------------------------------
PIECES = ["principal", "action", "resource", "context", "permit", "forbid", "when", "unless", "(", ")", "[", "]", "{", "}", ",", ";", ".", "::", ":", "@",
          "==", "!=", "<", "<=", ">", ">=", "&&", "||", "!", "+", "-", "*", "/", "%", "=", "?", "?principal", "?resource", "if", "then", "else", "in", "is", "has",
          "like", "true", "false", "__cedar", "User", "N::User", 'User::"a"', 'Action::"read"', '"a"', '"\\*"', '"*"', "1", "0", "9223372036854775808", "-1", "ip", "decimal",
          "isIpv4", "contains", "containsAll", "isEmpty", "getTag", "hasTag", "ip(\"1.1.1.1\")", ".isIpv4()", ".contains(1)", "//x\n", "\n", "\r", "\t", "\u00a0", "\u200b",
          "'", "\\", '"', '"\\u{41}"', '"\\q"', '"\\x80"', "&", "|", "entity", "type", "namespace", "enum", "appliesTo", "Set<", "Long", "tags", "attributes", "offset", "where"]


def tokens(text):
    out, i = [], 0
    while i < len(text):
        j = i + 1
        if text[i] == '"':
            while j < len(text) and text[j] != '"':
                j += 2 if text[j] == "\\" else 1
            j += 1
        elif text[i].isalnum() or text[i] == "_":
            while j < len(text) and (text[j].isalnum() or text[j] == "_"):
                j += 1
        elif text[i:i + 2] in ("::", "==", "!=", "<=", ">=", "&&", "||"):
            j = i + 2
        out.append(text[i:j])
        i = j
    return out


def mutate(r, text, pieces=PIECES):
    t = tokens(text)
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        i = r.randrange(len(t)) if t else 0
        k = r.randrange(6)
        if k == 0 and t:
            del t[i]
        elif k == 1:
            t.insert(i, r.choice(pieces))
        elif k == 2 and t:
            t[i] = r.choice(pieces)
        elif k == 3 and len(t) > 1:
            j = r.randrange(len(t))
            t[i], t[j] = t[j], t[i]
        elif k == 4 and t:
            j = min(len(t), i + r.randrange(1, 5))
            t[i:i] = t[i:j]
        elif k == 5 and t:
            s = t[i]
            p = r.randrange(len(s) + 1)
            t[i] = s[:p] + r.choice(["", " ", "x", "\"", "\\", "0", "_"]) + s[p + r.randrange(2):]
    return "".join(t)


SCHEMAS = [
    'namespace N { entity A in [B, C] = { x: Long, "y z"?: Set<String>, r: { a: Bool, } } tags String; entity B; entity C enum ["a", "b"];\n'
    'type T = { at: datetime, who: A }; action x, "y y" in [g] appliesTo { principal: [A, B], resource: C, context: T }; action g; }',
    'entity User in Group { n?: Long, ip: ipaddr, d: decimal, u: __cedar::String }; entity Group; action a in b; action b appliesTo { principal: User, resource: [Group], context: {x: Set<Set<Long>>} };',
    '@doc("x") namespace A::B { @k entity E { @z("1") f: E }; } type Long2 = Long; entity E2 { l: Long2, e: A::B::E, s: Set<A::B::E> }; action "q" in A::B::Action::"r"; namespace C { action r; }',
    'namespace A::B { action r; } action "q" in A::B::Action::"r"; entity X in [X, Y]; entity Y tags Set<Long>; action z in ["q"] appliesTo { resource: X, principal: Y };',
]
SCHEMA_PIECES = PIECES + ["entity A;", "type T = Long;", "action a;", "A", "B", "T", "N::A", "Set<Long>", "{x: Long}", "in [A]", "in A", "Bool", "String", "Record", "Action", "ipaddr",
                          "context", "principal: A", "resource: A", "@doc", "@doc(\"x\")", "a?: Long", "\"a\": Bool,", ">", "<"]


def mutate_json(r, v, depth=0):
    """One random change somewhere in a JSON value."""
    odd = [None, True, 0, -1, 1.5, "x", [], {}, {"__entity": {"type": "User", "id": "q"}}, {"__extn": {"fn": "ip", "arg": "1.1.1.1"}}, {"__extn": {"fn": "ip", "arg": "zz"}},
           {"__expr": "1"}, {"type": "User", "id": "q"}, {"type": "Us er", "id": "q"}, {"__extn": {"fn": "nope", "arg": "1"}}, {"__entity": {"type": "User"}}, 9223372036854775807,
           {"__extn": {"fn": "offset", "args": [{"__extn": {"fn": "datetime", "arg": "2024-01-01"}}, {"__extn": {"fn": "duration", "arg": "1d"}}]}}, {"__entity": 3},
           {"__extn": {"fn": "decimal", "arg": "1"}}, {"type": "Action", "id": "read"}, {"type": "a::if", "id": "x"}, {"type": "__cedar::X", "id": "x"}]
    if isinstance(v, dict) and v and r.random() < 0.85:
        k = r.choice(sorted(v))
        c = r.randrange(8)
        v = dict(v)
        if c == 0:
            del v[k]
        elif c == 1 and ("fn" in v or "type" in v):  # ignored there; the official build still wants it readable
            v["extra"] = "x"
        elif c == 1:
            v[r.choice(["extra", "__entity", "__extn", "__expr", "type", "id", "attrs", "tags", "parents"])] = r.choice(odd)
        else:
            v[k] = mutate_json(r, v[k], depth + 1)
        return v
    if isinstance(v, list) and v and r.random() < 0.85:
        i = r.randrange(len(v))
        c = r.randrange(6)
        v = list(v)
        if c == 0:
            del v[i]
        elif c == 1:
            v.append(v[i])
        else:
            v[i] = mutate_json(r, v[i], depth + 1)
        return v
    return r.choice(odd)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("tool")
    ap.add_argument("--seed", type=int, default=None)
    ap.add_argument("--sets", type=int, default=250)
    ap.add_argument("--texts", type=int, default=4000)
    ap.add_argument("--schemas", type=int, default=1500)
    ap.add_argument("--entities", type=int, default=600)
    a = ap.parse_args()
    seed = a.seed if a.seed is not None else random.randrange(1 << 32)
    print("cedar judge: seed %d" % seed)
    r = random.Random(seed)
    g = Gen(r)
    tool = Tool(a.tool)
    j = Judge(tool)
    for _ in range(a.sets):
        j.decisions(g)
    for i in range(a.texts):
        text = g.policy(g.pick([(), (), ("principal",), ("resource",)]))
        j.text(text if i % 8 == 0 else mutate(r, text))
    for i in range(a.schemas):
        j.schema(SCHEMAS[i] if i < len(SCHEMAS) else mutate(r, r.choice(SCHEMAS), SCHEMA_PIECES))
    for _ in range(a.entities):
        j.entities(json.dumps(mutate_json(r, r.sample(g.entities(), 4))))
    status = tool.close()
    print("cedar judge: " + ", ".join("%d %s" % (n, what) for what, n in sorted(j.n.items())) + ", %d wrong" % j.wrong)
    return 1 if j.wrong or status else 0


if __name__ == "__main__":
    sys.exit(main())
