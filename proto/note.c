/* SPDX-License-Identifier: Apache-2.0
 *
 * C2SP signed notes: see note.h for the format; the comments here cite its rules.
 * Side: broker, auditor, cli. Trusts: nothing that it reads. Owns: nothing.
 */
#include "proto/note.h"

#include "proto/b64.h"
#include "proto/hash.h"
#include "proto/mem.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char dash[] = "\xe2\x80\x94 "; /* U+2014 SP */
#define DASH_BYTES (sizeof dash - 1)
static const char skey_prefix[] = "PRIVATE+KEY+";
#define SKEY_PREFIX_BYTES (sizeof skey_prefix - 1)
#define KEY_BLOB_BYTES (1 + NOTE_KEY_BYTES)
#define COSIG_TIME_BYTES 8
#define COSIG_TIME_MAX INT64_MAX /* tlog-cosignature: timestamps must not exceed 2^63-1 */

/* --- characters ----------------------------------------------------------------------------- */

/* Decodes one UTF-8 character at p; 0 when the bytes are not valid (overlong, surrogate, cut). */
static size_t utf8_char(const uint8_t *p, size_t len, uint32_t *out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0;
	if (n == 0 || n > len)
		return 0;
	uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*out = c;
	return n;
}

/* Valid UTF-8, nothing below 0x20 but LF. */
static bool text_is_ok(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text;
	uint32_t c = 0;
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_char(p + i, len - i, &c);
		if (n == 0 || (c < 0x20 && c != '\n'))
			return false;
	}
	return true;
}

/* Unicode's White_Space property. */
static bool is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
	       c == 0x3000;
}

bool note_name_is_ok(const char *name, size_t len)
{
	const uint8_t *p = (const uint8_t *)name;
	uint32_t c = 0;
	if (len == 0 || len > NOTE_NAME_MAX_BYTES)
		return false;
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_char(p + i, len - i, &c);
		if (n == 0 || c < 0x20 || c == '+' || is_space(c))
			return false;
	}
	return true;
}

bool note_decimal(const char *text, size_t len, uint64_t *out)
{
	struct ck v = ck_u64(0);
	if (len == 0 || (len > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = ck_add(ck_mul(v, ck_u64(10)), ck_u64((uint64_t)(text[i] - '0')));
	}
	return ck_get(v, UINT64_MAX, out);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void key_id(const char *name, size_t name_len, uint8_t type, const uint8_t pk[NOTE_KEY_BYTES],
                   uint8_t id[NOTE_ID_BYTES])
{
	uint8_t digest[HASH_BYTES], tail[2 + NOTE_KEY_BYTES] = { '\n', type };
	memcpy(tail + 2, pk, NOTE_KEY_BYTES);
	hash_sha256_two(name, name_len, tail, sizeof tail, digest);
	memcpy(id, digest, NOTE_ID_BYTES);
}

static bool type_is_known(uint8_t type)
{
	return type == NOTE_ED25519 || type == NOTE_COSIGNATURE;
}

/* The three parts name "+" hex8 "+" base64, and the 33 bytes in the last one. */
static int key_text_split(const char *what, const char *text, size_t len, struct note_key *k,
                          uint8_t blob[KEY_BLOB_BYTES], struct err *e)
{
	const char *plus = memchr(text, '+', len);
	size_t name_len = plus ? (size_t)(plus - text) : 0, blob_len = 0;
	char shown[80];
	err_escape(shown, sizeof shown, text, len);
	if (!plus || !note_name_is_ok(text, name_len))
		return err_set(e, ERR_CONFIG, "%s \"%s\": want NAME+HASH+KEY, the name without spaces", what, shown);
	const char *hex = plus + 1;
	size_t rest = len - name_len - 1;
	if (rest < 2 * NOTE_ID_BYTES + 1 || hex[2 * NOTE_ID_BYTES] != '+')
		return err_set(e, ERR_CONFIG, "%s \"%s\": want 8 hex digits between two '+'", what, shown);
	for (size_t i = 0; i < NOTE_ID_BYTES; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *hi = memchr(digits, hex[2 * i], 16), *lo = memchr(digits, hex[2 * i + 1], 16);
		if (!hi || !lo)
			return err_set(e, ERR_CONFIG, "%s \"%s\": key id is not lowercase hex", what, shown);
		k->id[i] = (uint8_t)((hi - digits) << 4 | (lo - digits));
	}
	const char *b64 = hex + 2 * NOTE_ID_BYTES + 1;
	rest -= 2 * NOTE_ID_BYTES + 1;
	if (!b64_get(b64, rest, blob, KEY_BLOB_BYTES, &blob_len) || blob_len != KEY_BLOB_BYTES)
		return err_set(e, ERR_CONFIG, "%s \"%s\": key is not base64 of %d bytes", what, shown, KEY_BLOB_BYTES);
	if (!type_is_known(blob[0]))
		return err_set(e, ERR_CONFIG, "%s \"%s\": key type 0x%02x is not known; use Ed25519 (0x01) or its "
		               "cosignature (0x04)", what, shown, blob[0]);
	memset(k->name, 0, sizeof k->name);
	memcpy(k->name, text, name_len);
	k->type = blob[0];
	return ERR_OK;
}

static int key_id_check(const char *what, const struct note_key *k, struct err *e)
{
	uint8_t id[NOTE_ID_BYTES];
	char shown[80];
	key_id(k->name, strlen(k->name), k->type, k->pk, id);
	if (memcmp(id, k->id, NOTE_ID_BYTES) == 0)
		return ERR_OK;
	err_escape(shown, sizeof shown, k->name, strlen(k->name));
	return err_set(e, ERR_CONFIG, "%s of \"%s\": its key id does not follow from name and key: copy it again",
	               what, shown);
}

int note_vkey_parse(const char *text, size_t len, struct note_key *out, struct err *e)
{
	uint8_t blob[KEY_BLOB_BYTES];
	struct note_key k = { .type = 0 };
	int rc = key_text_split("verification key", text, len, &k, blob, e);
	if (rc != ERR_OK)
		return rc;
	memcpy(k.pk, blob + 1, NOTE_KEY_BYTES);
	if ((rc = key_id_check("verification key", &k, e)) == ERR_OK)
		*out = k;
	return rc;
}

static void key_text_put(const struct note_key *k, const uint8_t key[NOTE_KEY_BYTES], char *out, size_t cap)
{
	uint8_t blob[KEY_BLOB_BYTES];
	char b64[B64_LEN(KEY_BLOB_BYTES) + 1];
	blob[0] = k->type;
	memcpy(blob + 1, key, NOTE_KEY_BYTES);
	b64_put(blob, sizeof blob, b64);
	snprintf(out, cap, "%s+%02x%02x%02x%02x+%s", k->name, k->id[0], k->id[1], k->id[2], k->id[3], b64);
	sodium_memzero(blob, sizeof blob);
	sodium_memzero(b64, sizeof b64);
}

void note_vkey_format(const struct note_key *k, char out[NOTE_VKEY_MAX_BYTES])
{
	key_text_put(k, k->pk, out, NOTE_VKEY_MAX_BYTES);
}

static int signer_make(const char *name, size_t name_len, uint8_t type, const uint8_t *seed,
                       struct note_signer *out, struct err *e)
{
	char shown[80];
	if (!note_name_is_ok(name, name_len))
		return err_set(e, ERR_CONFIG, "key name \"%s\": want 1 to %d bytes of text without spaces and '+'",
		               err_escape(shown, sizeof shown, name, name_len), NOTE_NAME_MAX_BYTES);
	memset(out, 0, sizeof *out);
	memcpy(out->key.name, name, name_len);
	out->key.type = type;
	crypto_sign_seed_keypair(out->key.pk, out->sk, seed);
	key_id(name, name_len, type, out->key.pk, out->key.id);
	return ERR_OK;
}

int note_signer_init(const char *name, size_t name_len, const uint8_t seed[NOTE_SEED_BYTES],
                     struct note_signer *out, struct err *e)
{
	return signer_make(name, name_len, NOTE_ED25519, seed, out, e);
}

int note_cosigner_init(const char *name, size_t name_len, const uint8_t seed[NOTE_SEED_BYTES],
                       struct note_signer *out, struct err *e)
{
	return signer_make(name, name_len, NOTE_COSIGNATURE, seed, out, e);
}

int note_skey_parse(const char *text, size_t len, struct note_signer *out, struct err *e)
{
	uint8_t blob[KEY_BLOB_BYTES];
	struct note_key k = { .type = 0 };
	/* No part of a private key may stand in an error text: it is checked before the split shows it. */
	if (len < SKEY_PREFIX_BYTES || memcmp(text, skey_prefix, SKEY_PREFIX_BYTES) != 0)
		return err_set(e, ERR_CONFIG, "not a private key: want a line that begins with %s", skey_prefix);
	int rc = key_text_split("private key", text + SKEY_PREFIX_BYTES, len - SKEY_PREFIX_BYTES, &k, blob, NULL);
	if (rc != ERR_OK)
		return err_set(e, ERR_CONFIG, "private key is malformed: want %sNAME+HASH+KEY", skey_prefix);
	rc = signer_make(k.name, strlen(k.name), k.type, blob + 1, out, e);
	sodium_memzero(blob, sizeof blob);
	if (rc == ERR_OK && memcmp(out->key.id, k.id, NOTE_ID_BYTES) != 0) {
		note_signer_clear(out);
		rc = err_set(e, ERR_CONFIG, "private key: its key id does not follow from name and key: copy it again");
	}
	return rc;
}

void note_skey_format(const struct note_signer *s, char out[NOTE_SKEY_MAX_BYTES])
{
	memcpy(out, skey_prefix, SKEY_PREFIX_BYTES);
	key_text_put(&s->key, s->sk, out + SKEY_PREFIX_BYTES, NOTE_SKEY_MAX_BYTES - SKEY_PREFIX_BYTES);
}

void note_signer_clear(struct note_signer *s)
{
	sodium_memzero(s, sizeof *s);
}

unsigned note_count_distinct(const struct note_key *keys, size_t n_keys, uint64_t good)
{
	unsigned n = 0;
	for (size_t i = 0; i < n_keys && i < 64; i++) {
		bool is_new = good >> i & 1;
		for (size_t j = 0; j < i && is_new; j++)
			if (good >> j & 1 && memcmp(keys[i].pk, keys[j].pk, NOTE_KEY_BYTES) == 0)
				is_new = false;
		n += is_new;
	}
	return n;
}

/* --- reading ------------------------------------------------------------------------------------ */

/* Reads one signature line without its LF. */
static bool line_parse(const char *p, size_t len, struct note_line *out)
{
	uint8_t blob[NOTE_SIG_BLOB_MAX_BYTES];
	size_t blob_len = 0;
	if (len < DASH_BYTES || memcmp(p, dash, DASH_BYTES) != 0)
		return false;
	p += DASH_BYTES;
	len -= DASH_BYTES;
	const char *space = memchr(p, ' ', len);
	if (!space || !note_name_is_ok(p, (size_t)(space - p)))
		return false;
	out->name = p;
	out->name_len = (size_t)(space - p);
	out->b64 = space + 1;
	out->b64_len = len - out->name_len - 1;
	if (!b64_get(out->b64, out->b64_len, blob, sizeof blob, &blob_len) || blob_len <= NOTE_ID_BYTES)
		return false;
	memcpy(out->id, blob, NOTE_ID_BYTES);
	return true;
}

/* The offset of the last empty line's LF, so that [0, offset) is the text; 0 when there is none. */
static size_t split_find(const char *in, size_t len)
{
	for (size_t i = len; i >= 2; i--)
		if (in[i - 1] == '\n' && in[i - 2] == '\n')
			return i - 1;
	return 0;
}

int note_parse(const char *in, size_t len, struct note *out, struct err *e)
{
	size_t split = split_find(in, len), at = split + 1;
	memset(out, 0, sizeof *out);
	if (!text_is_ok(in, len))
		return err_set(e, ERR_SIGNATURE, "signed note: not UTF-8, or it holds a control character");
	if (split == 0 || at == len)
		return err_set(e, ERR_SIGNATURE, "signed note: no signature lines after an empty line");
	while (at < len) {
		const char *lf = memchr(in + at, '\n', len - at);
		if (!lf)
			return err_set(e, ERR_SIGNATURE, "signed note: its last line does not end");
		if (out->n_lines == LIMIT_NOTE_SIGNATURES)
			return err_set(e, ERR_LIMIT, "signed note: more than %d signatures", LIMIT_NOTE_SIGNATURES);
		if (!line_parse(in + at, (size_t)(lf - in) - at, &out->lines[out->n_lines]))
			return err_set(e, ERR_SIGNATURE, "signed note: signature line %zu is malformed", out->n_lines + 1);
		out->n_lines++;
		at = (size_t)(lf - in) + 1;
	}
	out->text = in;
	out->text_len = split;
	return ERR_OK;
}

/* The message of a cosignature; caller frees. NULL when memory is out. */
static char *cosig_message(const char *text, size_t text_len, uint64_t time_unix, size_t *len)
{
	char head[64];
	int n = snprintf(head, sizeof head, "cosignature/v1\ntime %llu\n", (unsigned long long)time_unix);
	char *m = malloc((size_t)n + text_len);
	if (m) {
		memcpy(m, head, (size_t)n);
		memcpy(m + n, text, text_len);
		*len = (size_t)n + text_len;
	}
	return m;
}

static uint64_t be64_get(const uint8_t *p)
{
	uint64_t v = le64_get(p);
	return __builtin_bswap64(v);
}

/* Checks one line of key k. *time_out: of a cosignature, else 0. */
static bool line_verify(const struct note *n, const struct note_line *l, const struct note_key *k,
                        uint64_t *time_out)
{
	uint8_t blob[NOTE_ID_BYTES + COSIG_TIME_BYTES + NOTE_SIG_BYTES];
	bool cosig = k->type == NOTE_COSIGNATURE, good = false;
	size_t want = NOTE_ID_BYTES + (cosig ? COSIG_TIME_BYTES : 0) + NOTE_SIG_BYTES, len = 0;
	*time_out = 0;
	if (!b64_get(l->b64, l->b64_len, blob, sizeof blob, &len) || len != want)
		return false;
	const uint8_t *sig = blob + want - NOTE_SIG_BYTES;
	if (!cosig)
		return crypto_sign_verify_detached(sig, (const uint8_t *)n->text, n->text_len, k->pk) == 0;
	uint64_t t = be64_get(blob + NOTE_ID_BYTES);
	if (t > COSIG_TIME_MAX)
		return false;
	size_t m_len = 0;
	char *m = cosig_message(n->text, n->text_len, t, &m_len);
	good = m && crypto_sign_verify_detached(sig, (const uint8_t *)m, m_len, k->pk) == 0;
	free(m);
	if (good)
		*time_out = t;
	return good;
}

static bool line_is_by(const struct note_line *l, const struct note_key *k)
{
	return memcmp(l->id, k->id, NOTE_ID_BYTES) == 0 && strlen(k->name) == l->name_len &&
	       memcmp(l->name, k->name, l->name_len) == 0;
}

int note_verify(const struct note *n, const struct note_key *keys, size_t n_keys, uint64_t *good_out,
                struct err *e)
{
	uint64_t good = 0, t;
	char shown[80];
	if (n_keys > 64)
		return err_set(e, ERR_SIGNATURE, "signed note: %zu known keys, at most 64 are supported", n_keys);
	for (size_t i = 0; i < n->n_lines; i++) {
		const struct note_key *by = NULL;
		for (size_t k = 0; k < n_keys; k++) {
			if (!line_is_by(&n->lines[i], &keys[k]))
				continue;
			err_escape(shown, sizeof shown, n->lines[i].name, n->lines[i].name_len);
			if (by && (by->type != keys[k].type || memcmp(by->pk, keys[k].pk, NOTE_KEY_BYTES) != 0))
				return err_set(e, ERR_SIGNATURE, "two known keys share the name \"%s\" and its key id: "
				               "give one of them another name", shown);
			by = &keys[k];
			if (!line_verify(n, &n->lines[i], by, &t))
				return err_set(e, ERR_SIGNATURE, "the signature of \"%s\" does not verify: the text was "
				               "changed or the key is another", shown);
			good |= UINT64_C(1) << k;
		}
	}
	if (good == 0)
		return err_set(e, ERR_SIGNATURE, "no signature by a known key: check which keys are trusted");
	*good_out = good;
	return ERR_OK;
}

uint64_t note_cosignature_time(const struct note *n, const struct note_key *k)
{
	uint64_t newest = 0, t = 0;
	for (size_t i = 0; i < n->n_lines && k->type == NOTE_COSIGNATURE; i++)
		if (line_is_by(&n->lines[i], k) && line_verify(n, &n->lines[i], k, &t) && t > newest)
			newest = t;
	return newest;
}

/* --- writing ------------------------------------------------------------------------------------ */

/* Appends a signature line made of the key id and tail. */
static bool line_put(const struct note_key *k, const uint8_t *tail, size_t tail_len, char *out, size_t cap,
                     size_t *at)
{
	uint8_t blob[NOTE_ID_BYTES + COSIG_TIME_BYTES + NOTE_SIG_BYTES];
	char b64[B64_LEN(sizeof blob) + 1];
	memcpy(blob, k->id, NOTE_ID_BYTES);
	memcpy(blob + NOTE_ID_BYTES, tail, tail_len);
	b64_put(blob, NOTE_ID_BYTES + tail_len, b64);
	size_t name_len = strlen(k->name), b64_len = strlen(b64), need = DASH_BYTES + name_len + 1 + b64_len + 1;
	if (*at > cap || need > cap - *at)
		return false;
	char *p = out + *at;
	memcpy(p, dash, DASH_BYTES);
	memcpy(p + DASH_BYTES, k->name, name_len);
	p[DASH_BYTES + name_len] = ' ';
	memcpy(p + DASH_BYTES + name_len + 1, b64, b64_len);
	p[need - 1] = '\n';
	*at += need;
	return true;
}

static int text_check(const char *text, size_t len, struct err *e)
{
	if (len == 0 || text[len - 1] != '\n' || !text_is_ok(text, len))
		return err_set(e, ERR_INPUT, "text to be signed must be UTF-8 without control characters and end in a "
		               "line feed");
	return ERR_OK;
}

int note_sign(const char *text, size_t text_len, const struct note_signer *signers, size_t n_signers,
              char *out, size_t cap, size_t *out_len, struct err *e)
{
	uint8_t sig[NOTE_SIG_BYTES];
	size_t at = text_len + 1;
	int rc = text_check(text, text_len, e);
	if (rc != ERR_OK)
		return rc;
	if (n_signers == 0 || n_signers > LIMIT_NOTE_SIGNATURES)
		return err_set(e, ERR_LIMIT, "%zu signers: a note takes 1 to %d", n_signers, LIMIT_NOTE_SIGNATURES);
	if (at > cap)
		return err_set(e, ERR_LIMIT, "signed note of %zu bytes: room for %zu", at, cap);
	memmove(out, text, text_len);
	out[text_len] = '\n';
	for (size_t i = 0; i < n_signers; i++) {
		if (signers[i].key.type != NOTE_ED25519)
			return err_set(e, ERR_INPUT, "\"%s\" is a cosigner's key: it cannot sign notes", signers[i].key.name);
		crypto_sign_detached(sig, NULL, (const uint8_t *)out, text_len, signers[i].sk);
		if (!line_put(&signers[i].key, sig, sizeof sig, out, cap, &at))
			return err_set(e, ERR_LIMIT, "signed note: room for %zu bytes is not enough", cap);
	}
	*out_len = at;
	return ERR_OK;
}

int note_cosign(const char *text, size_t text_len, const struct note_signer *cosigner, uint64_t time_unix,
                char *out, size_t cap, size_t *out_len, struct err *e)
{
	uint8_t tail[COSIG_TIME_BYTES + NOTE_SIG_BYTES];
	size_t m_len = 0, at = 0;
	int rc = text_check(text, text_len, e);
	if (rc != ERR_OK)
		return rc;
	if (cosigner->key.type != NOTE_COSIGNATURE || time_unix == 0 || time_unix > COSIG_TIME_MAX)
		return err_set(e, ERR_INPUT, "a cosignature needs a cosigner's key and a time above 0");
	char *m = cosig_message(text, text_len, time_unix, &m_len);
	if (!m)
		return err_set(e, ERR_NOMEM, "cosignature: no memory");
	le64_put(tail, __builtin_bswap64(time_unix));
	crypto_sign_detached(tail + COSIG_TIME_BYTES, NULL, (const uint8_t *)m, m_len, cosigner->sk);
	free(m);
	if (!line_put(&cosigner->key, tail, sizeof tail, out, cap, &at))
		return err_set(e, ERR_LIMIT, "cosignature line: room for %zu bytes is not enough", cap);
	*out_len = at;
	return ERR_OK;
}
