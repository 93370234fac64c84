// SPDX-License-Identifier: Apache-2.0

// Judges a log with Go's x/mod (sumdb/note and sumdb/tlog), which shares no line with ours.
//
// usage: audit_log VKEY LOGDIR [RECEIPT...]
//
// Every hash is rebuilt from the entries: the root and every published tile are compared with that, inclusion and
// consistency proofs are made from it and checked. No stored tile is ever believed: tlog.TileHashReader, which
// does (CVE-2026-56865 in this version), is not used. A receipt is a C2SP tlog-proof in a file, its entry in
// FILE.entry. Prints one line and exits 0, or says what is wrong and exits 1.
//
// Built with GO111MODULE=off GOPATH=/usr/share/gocode.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, "audit_log: "+format+"\n", args...)
	os.Exit(1)
}

func read(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		fail("%v", err)
	}
	return b
}

func hash(line string) tlog.Hash {
	b, err := base64.StdEncoding.DecodeString(line)
	if err != nil || len(b) != tlog.HashSize {
		fail("bad hash %q", line)
	}
	var h tlog.Hash
	copy(h[:], b)
	return h
}

// checkpoint opens a signed C2SP checkpoint: origin, size, root, one a line.
func checkpoint(signed []byte, verifier note.Verifier) (int64, tlog.Hash) {
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		fail("checkpoint: %v", err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		fail("checkpoint of %q, wanted %q", lines[0], verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || strconv.FormatInt(size, 10) != lines[1] {
		fail("checkpoint size %q", lines[1])
	}
	return size, hash(lines[2])
}

// number is C2SP's x001/x234/067.
func number(n int64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}

func partial(width int64) string {
	if width == 256 {
		return ""
	}
	return fmt.Sprintf(".p/%d", width)
}

func entries(dir string, size int64) [][]byte {
	var all [][]byte
	for n := int64(0); n*256 < size; n++ {
		width := size - n*256
		if width > 256 {
			width = 256
		}
		b := read(filepath.Join(dir, "tile/entries", number(n)+partial(width)))
		for i := int64(0); i < width; i++ {
			if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
				fail("bundle %d ends early", n)
			}
			l := int(binary.BigEndian.Uint16(b))
			all = append(all, b[2:2+l])
			b = b[2+l:]
		}
		if len(b) != 0 {
			fail("bundle %d has %d bytes too many", n, len(b))
		}
	}
	return all
}

// store holds the hashes in x/mod's order, all made from the entries.
type store []tlog.Hash

func (s store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x >= int64(len(s)) {
			return nil, fmt.Errorf("no stored hash %d", x)
		}
		out[i] = s[x]
	}
	return out, nil
}

func rebuild(all [][]byte) store {
	var s store
	for i, e := range all {
		hashes, err := tlog.StoredHashes(int64(i), e, s)
		if err != nil {
			fail("entry %d: %v", i, err)
		}
		s = append(s, hashes...)
	}
	return s
}

func tiles(dir string, size int64, s store) int {
	count := 0
	for _, t := range tlog.NewTiles(8, 0, size) {
		// NewTiles names every width on the way; published are full tiles and the last partial one.
		if int64(t.W) != 256 && (t.N != size>>(8*uint(t.L))/256 || int64(t.W) != size>>(8*uint(t.L))%256) {
			continue
		}
		want, err := tlog.ReadTileData(t, s)
		if err != nil {
			fail("tile %v: %v", t, err)
		}
		path := fmt.Sprintf("tile/%d/%s%s", t.L, number(t.N), partial(int64(t.W)))
		if !bytes.Equal(read(filepath.Join(dir, path)), want) {
			fail("%s differs from the entries", path)
		}
		count++
	}
	return count
}

func proofs(size int64, root tlog.Hash, all [][]byte, s store) int {
	count, step := 0, size/200+1
	for i := int64(0); i < size; i += step {
		p, err := tlog.ProveRecord(size, i, s)
		if err != nil {
			fail("proof of %d: %v", i, err)
		}
		if err := tlog.CheckRecord(p, size, root, i, tlog.RecordHash(all[i])); err != nil {
			fail("proof of %d: %v", i, err)
		}
		old, err := tlog.TreeHash(i+1, s)
		if err != nil {
			fail("tree of %d: %v", i+1, err)
		}
		q, err := tlog.ProveTree(size, i+1, s)
		if err != nil {
			fail("proof of the tree of %d: %v", i+1, err)
		}
		if err := tlog.CheckTree(q, size, root, i+1, old); err != nil {
			fail("proof of the tree of %d: %v", i+1, err)
		}
		count += 2
	}
	return count
}

func receipt(path string, verifier note.Verifier, all [][]byte, s store) {
	text, entry := string(read(path)), read(path+".entry")
	cut := strings.Index(text, "\n\n")
	if cut < 0 {
		fail("%s: no checkpoint", path)
	}
	size, root := checkpoint([]byte(text[cut+2:]), verifier)
	head := strings.Split(text[:cut], "\n")
	if head[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(head[1], "index ") {
		fail("%s: no tlog-proof", path)
	}
	index, err := strconv.ParseInt(head[1][len("index "):], 10, 64)
	if err != nil {
		fail("%s: %v", path, err)
	}
	var p tlog.RecordProof
	for _, line := range head[2:] {
		p = append(p, hash(line))
	}
	if err := tlog.CheckRecord(p, size, root, index, tlog.RecordHash(entry)); err != nil {
		fail("%s: %v", path, err)
	}
	// What the receipt was given for is still there: its tree is a prefix of the log.
	if size > int64(len(all)) || !bytes.Equal(all[index], entry) {
		fail("%s: entry %d of the log is another one", path, index)
	}
	if now, err := tlog.TreeHash(size, s); err != nil || now != root {
		fail("%s: the log's tree of %d has another root", path, size)
	}
}

func main() {
	if len(os.Args) < 3 {
		fail("usage: audit_log VKEY LOGDIR [RECEIPT...]")
	}
	verifier, err := note.NewVerifier(os.Args[1])
	if err != nil {
		fail("key: %v", err)
	}
	dir := os.Args[2]
	size, root := checkpoint(read(filepath.Join(dir, "checkpoint")), verifier)
	all := entries(dir, size)
	s := rebuild(all)
	if got, err := tlog.TreeHash(size, s); err != nil || got != root {
		fail("the entries do not have the root of the checkpoint (%v)", err)
	}
	t, p := tiles(dir, size, s), proofs(size, root, all, s)
	for _, path := range os.Args[3:] {
		receipt(path, verifier, all, s)
	}
	fmt.Printf("ok size %d, %d tiles, %d proofs, %d receipts\n", size, t, p, len(os.Args)-3)
}
