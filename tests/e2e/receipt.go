// SPDX-License-Identifier: Apache-2.0

// Judges a receipt with Go's x/mod: note.Open for the checkpoint, tlog.CheckRecord for the inclusion.
//
// usage: receipt VKEY ENTRY PROOF      files: the entry's bytes, a C2SP tlog-proof; prints "ok INDEX SIZE"
//
// Built with GO111MODULE=off GOPATH=/usr/share/gocode.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, "receipt: "+format+"\n", args...)
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

func main() {
	if len(os.Args) != 4 {
		fail("usage: receipt VKEY ENTRY PROOF")
	}
	verifier, err := note.NewVerifier(os.Args[1])
	if err != nil {
		fail("key: %v", err)
	}
	entry, proof := read(os.Args[2]), string(read(os.Args[3]))
	cut := strings.Index(proof, "\n\n")
	if cut < 0 {
		fail("no checkpoint")
	}
	signed, err := note.Open([]byte(proof[cut+2:]), note.VerifierList(verifier))
	if err != nil {
		fail("checkpoint: %v", err)
	}
	// A C2SP checkpoint: origin, size, root, one a line.
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		fail("checkpoint of %q", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		fail("size: %v", err)
	}
	head := strings.Split(proof[:cut], "\n")
	if head[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(head[1], "index ") {
		fail("no tlog-proof")
	}
	index, err := strconv.ParseInt(head[1][len("index "):], 10, 64)
	if err != nil {
		fail("index: %v", err)
	}
	var hashes tlog.RecordProof
	for _, line := range head[2:] {
		hashes = append(hashes, hash(line))
	}
	if err := tlog.CheckRecord(hashes, size, hash(lines[2]), index, tlog.RecordHash(entry)); err != nil {
		fail("%v", err)
	}
	fmt.Printf("ok %d %d\n", index, size)
}
