/* SPDX-License-Identifier: Apache-2.0
 * Trees: the published roots, all proofs of small trees, broken proofs, spans that start in the middle; tiles. */
#include "audit/tile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX 69

static uint8_t leaves[MAX][HASH_BYTES], roots[MAX + 1][HASH_BYTES];
static struct tree_span *whole;

static int setup(void **state)
{
	(void)state;
	struct tree_front f = { .size = 0 };
	struct err e;
	whole = tree_span_new(&f);
	tree_front_root(&f, roots[0]);
	for (unsigned i = 0; i < MAX; i++) {
		uint8_t entry[2] = { (uint8_t)i, 1 };
		tree_leaf(entry, 2, leaves[i]);
		tree_front_add(&f, leaves[i]);
		tree_front_root(&f, roots[i + 1]);
		if (tree_span_add(whole, leaves[i], &e) != ERR_OK)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tree_span_free(whole);
	return 0;
}

/* The entries and roots that RFC 6962's reference code has published. */
static void test_published_roots(void **state)
{
	(void)state;
	static const struct {
		const char *entry;
		size_t len;
	} entries[] = {
		{ "", 0 },          { "\x00", 1 },         { "\x10", 1 },
		{ "\x20\x21", 2 },  { "\x30\x31", 2 },     { "\x40\x41\x42\x43", 4 },
		{ "\x50\x51\x52\x53\x54\x55\x56\x57", 8 },
		{ "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16 },
	};
	static const char *const want[] = {
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	};
	struct tree_front f = { .size = 0 };
	char hex[HASH_HEX_BYTES + 1];
	uint8_t h[HASH_BYTES];
	for (size_t i = 0; i <= 8; i++) {
		tree_front_root(&f, h);
		hash_hex(h, hex);
		assert_string_equal(hex, want[i]);
		if (i < 8) {
			tree_leaf(entries[i].entry, entries[i].len, h);
			tree_front_add(&f, h);
		}
	}
}

static void flip(struct tree_proof *p, unsigned i)
{
	p->hash[i / 256][i / 8 % HASH_BYTES] ^= (uint8_t)(1 << i % 8);
}

static void test_inclusion_all_pairs(void **state)
{
	(void)state;
	struct tree_proof p, q;
	struct err e;
	for (uint64_t n = 1; n <= MAX; n++) {
		for (uint64_t i = 0; i < n; i++) {
			assert_int_equal(tree_inclusion(whole, i, n, &p, &e), ERR_OK);
			assert_int_equal(tree_inclusion_check(i, n, &p, leaves[i], roots[n], &e), ERR_OK);
			/* Another entry, place, size or root; a proof changed, shortened, lengthened. */
			assert_int_equal(tree_inclusion_check(i, n, &p, leaves[(i + 1) % MAX], roots[n], &e), ERR_LOG);
			assert_int_equal(tree_inclusion_check(n, n, &p, leaves[i], roots[n], &e), ERR_LOG);
			assert_int_equal(tree_inclusion_check(i, n, &p, leaves[i], roots[n - 1], &e), ERR_LOG);
			if (n > 1)
				assert_int_equal(tree_inclusion_check((i + 1) % n, n, &p, leaves[i], roots[n], &e), ERR_LOG);
			for (unsigned bit = 0; bit < p.n * 256; bit += 37) {
				q = p;
				flip(&q, bit);
				assert_int_equal(tree_inclusion_check(i, n, &q, leaves[i], roots[n], &e), ERR_LOG);
			}
			q = p;
			q.n++;
			memcpy(q.hash[p.n], roots[n], HASH_BYTES);
			assert_int_equal(tree_inclusion_check(i, n, &q, leaves[i], roots[n], &e), ERR_LOG);
			if (p.n) {
				q.n = p.n - 1;
				assert_int_equal(tree_inclusion_check(i, n, &q, leaves[i], roots[n], &e), ERR_LOG);
			}
		}
	}
	assert_int_equal(tree_inclusion(whole, 3, 3, &p, &e), ERR_INPUT);
	assert_int_equal(tree_inclusion(whole, 3, MAX + 1, &p, &e), ERR_INPUT);
}

static void test_consistency_all_pairs(void **state)
{
	(void)state;
	struct tree_proof p, q;
	struct err e;
	for (uint64_t n = 0; n <= MAX; n++) {
		for (uint64_t m = 0; m <= n; m++) {
			assert_int_equal(tree_consistency(whole, m, n, &p, &e), ERR_OK);
			assert_int_equal(tree_consistency_check(m, n, &p, roots[m], roots[n], &e), ERR_OK);
			if (m > 0 && m < n) {
				assert_int_equal(tree_consistency_check(m, n, &p, roots[m - 1], roots[n], &e), ERR_LOG);
				assert_int_equal(tree_consistency_check(m, n, &p, roots[m], roots[n - 1], &e), ERR_LOG);
				assert_int_equal(tree_consistency_check(m + 1, n, &p, roots[m], roots[n], &e), ERR_LOG);
			}
			for (unsigned bit = 0; bit < p.n * 256; bit += 41) {
				q = p;
				flip(&q, bit);
				assert_int_equal(tree_consistency_check(m, n, &q, roots[m], roots[n], &e), ERR_LOG);
			}
			q = p;
			q.n++;
			memcpy(q.hash[p.n], roots[n], HASH_BYTES);
			assert_int_equal(tree_consistency_check(m, n, &q, roots[m], roots[n], &e), ERR_LOG);
			if (p.n) {
				q.n = p.n - 1;
				assert_int_equal(tree_consistency_check(m, n, &q, roots[m], roots[n], &e), ERR_LOG);
			}
		}
	}
	assert_int_equal(tree_consistency_check(2, 1, &p, roots[2], roots[1], &e), ERR_LOG);
	p.n = 0;
	assert_int_equal(tree_consistency_check(0, 5, &p, roots[1], roots[5], &e), ERR_LOG);
	assert_int_equal(tree_consistency_check(5, 5, &p, roots[4], roots[5], &e), ERR_LOG);
}

/* A span that begins at any size proves every entry that was added since, as the auditor's does. */
static void test_span_from_the_middle(void **state)
{
	(void)state;
	struct tree_front f = { .size = 0 };
	struct tree_proof p;
	struct err e;
	uint8_t root[HASH_BYTES];
	struct tree_span *s = tree_span_new(&f);
	for (uint64_t start = 0; start < MAX; start++) {
		tree_span_restart(s, &f);
		for (uint64_t n = start; n < MAX; n++) {
			assert_int_equal(tree_span_add(s, leaves[n], &e), ERR_OK);
			for (uint64_t i = start; i <= n; i++) {
				assert_int_equal(tree_inclusion(s, i, n + 1, &p, &e), ERR_OK);
				assert_int_equal(tree_inclusion_check(i, n + 1, &p, leaves[i], roots[n + 1], &e), ERR_OK);
			}
		}
		tree_front_root(tree_span_front(s), root);
		assert_memory_equal(root, roots[MAX], HASH_BYTES);
		if (start > 2) /* older entries are out of its reach, and it says so */
			assert_int_equal(tree_inclusion(s, 0, MAX, &p, &e), ERR_INPUT);
		tree_front_add(&f, leaves[start]);
	}
	for (uint64_t n = 0; n <= MAX; n++) {
		assert_int_equal(tree_root_at(whole, n, root, &e), ERR_OK);
		assert_memory_equal(root, roots[n], HASH_BYTES);
	}
	tree_span_free(s);
}

/* --- tiles ------------------------------------------------------------------------------------------ */

static void test_tile_paths(void **state)
{
	(void)state;
	static const struct {
		unsigned level;
		uint64_t index;
		unsigned width;
		const char *want;
	} rows[] = {
		{ 0, 0, 256, "tile/0/000" },
		{ 0, 999, 256, "tile/0/999" },
		{ 0, 1000, 256, "tile/0/x001/000" },
		{ 2, 1234067, 256, "tile/2/x001/x234/067" },
		{ 1, 17, 1, "tile/1/017.p/1" },
		{ TILE_ENTRIES, 273, 112, "tile/entries/273.p/112" },
		{ TILE_ENTRIES, 1000000, 255, "tile/entries/x001/x000/000.p/255" },
		{ 7, UINT64_MAX, 256, "tile/7/x018/x446/x744/x073/x709/x551/615" },
	};
	char path[TILE_PATH_MAX_BYTES];
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		tile_path(rows[i].level, rows[i].index, rows[i].width, path);
		assert_string_equal(path, rows[i].want);
	}
}

static void test_tile_counts(void **state)
{
	(void)state;
	/* 70,000: 273 full level-0 tiles and 112; one level-1 tile and 17; a level-2 partial of 1. */
	assert_int_equal(tile_full_count(0, 70000), 273);
	assert_int_equal(tile_partial_width(0, 70000), 112);
	assert_int_equal(tile_full_count(1, 70000), 1);
	assert_int_equal(tile_partial_width(1, 70000), 17);
	assert_int_equal(tile_full_count(2, 70000), 0);
	assert_int_equal(tile_partial_width(2, 70000), 1);
	assert_int_equal(tile_partial_width(3, 70000), 0);
	/* 256: a full tile and a level-1 partial of 1. */
	assert_int_equal(tile_full_count(0, 256), 1);
	assert_int_equal(tile_partial_width(0, 256), 0);
	assert_int_equal(tile_partial_width(1, 256), 1);
	assert_int_equal(tile_full_count(TILE_ENTRIES, 70000), 273);
	assert_int_equal(tile_partial_width(TILE_ENTRIES, 70000), 112);
}

struct seen {
	unsigned n[TILE_LEVELS + 1];
	uint8_t last[TILE_LEVELS + 1][TILE_BYTES];
	size_t len[TILE_LEVELS + 1];
};

static int see(void *arg, unsigned level, uint64_t index, const uint8_t *bytes, size_t len, struct err *e)
{
	struct seen *s = arg;
	(void)e;
	assert_int_equal(index, s->n[level]);
	s->n[level]++;
	s->len[level] = len;
	memcpy(s->last[level], bytes, len < TILE_BYTES ? len : TILE_BYTES);
	return ERR_OK;
}

static void test_tile_edge(void **state)
{
	(void)state;
	struct tile_edge t;
	struct tree_front f = { .size = 0 };
	struct seen *full = calloc(1, sizeof *full), *part = calloc(1, sizeof *part);
	struct err e;
	uint8_t leaf[HASH_BYTES], root[HASH_BYTES], entry[2] = "ab";
	static const uint8_t big[TILE_ENTRY_MAX_BYTES + 1];
	tile_edge_init(&t);
	for (unsigned i = 0; i < 65536 + 256 + 3; i++) {
		entry[0] = (uint8_t)i;
		tree_leaf(entry, 2, leaf);
		tree_front_add(&f, leaf);
		assert_int_equal(tile_edge_add(&t, leaf, entry, 2, see, full, &e), ERR_OK);
	}
	assert_int_equal(full->n[0], 257);
	assert_int_equal(full->n[1], 1);
	assert_int_equal(full->n[2], 0);
	assert_int_equal(full->n[TILE_ENTRIES], 257);
	assert_int_equal(full->len[TILE_ENTRIES], 256 * 4);
	assert_memory_equal(full->last[TILE_ENTRIES], "\x00\x02\x00" "b\x00\x02\x01" "b", 8);
	memcpy(part->n, (unsigned[]){ 257, 1, 0, 0, 0, 0, 0, 0, 257 }, sizeof part->n);
	assert_int_equal(tile_edge_partials(&t, see, part, &e), ERR_OK);
	assert_int_equal(part->len[0], 3 * HASH_BYTES);
	assert_int_equal(part->len[1], 1 * HASH_BYTES);
	assert_int_equal(part->len[2], 1 * HASH_BYTES);
	assert_int_equal(part->len[3], 0);
	/* The edge's hashes are the tree's nodes: the root follows from them. */
	assert_memory_equal(part->last[2], f.node[16], HASH_BYTES);
	assert_memory_equal(part->last[1], f.node[8], HASH_BYTES);
	tree_node(part->last[0], part->last[0] + HASH_BYTES, root);
	assert_memory_equal(root, f.node[1], HASH_BYTES);
	assert_int_equal(tile_edge_add(&t, leaf, big, sizeof big, see, full, &e), ERR_LIMIT);
	tile_edge_clear(&t);
	free(full);
	free(part);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_roots),      cmocka_unit_test(test_inclusion_all_pairs),
		cmocka_unit_test(test_consistency_all_pairs), cmocka_unit_test(test_span_from_the_middle),
		cmocka_unit_test(test_tile_paths),           cmocka_unit_test(test_tile_counts),
		cmocka_unit_test(test_tile_edge),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
