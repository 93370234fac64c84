/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors of the command: see tensors.h. Whether names, types and shapes fit the model is the worker's
 * to say; here is only what files and messages must keep.
 *
 * Side: cli. Trusts: nothing in a file, nothing in an answer. Owns: the inputs' bytes.
 */
#include "broker/ctl/tensors.h"

#include "broker/ctl/files.h"
#include "broker/trust/trust.h"
#include "proto/mem.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint8_t zeros[FRAME_TAIL_ALIGN];

/* --- inputs --------------------------------------------------------------------------------------- */

static int all_read(int fd, uint8_t *p, uint64_t n, uint64_t at, const char *path, struct err *e)
{
	while (n > 0) {
		ssize_t got = pread(fd, p, n < ((size_t)1 << 30) ? (size_t)n : (size_t)1 << 30, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return err_set(e, ERR_IO, "%s: %s", ctl_str(path), got < 0 ? strerror(errno) : "it became shorter");
		p += got;
		at += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return ERR_OK;
}

/* The limit is met before memory is: files of 3 GiB are refused, not read. */
static int room_check(const struct tensors *t, const struct npy *n, const char *path, struct err *e)
{
	uint64_t sum;
	struct ck want = ck_add(ck_align(ck_u64(n->data_bytes), FRAME_TAIL_ALIGN), ck_u64(t->tail_bytes));
	if (!ck_get(want, LIMIT_FRAME_BODY_BYTES - LIMIT_HEAD_BYTES - FRAME_TAIL_ALIGN, &sum))
		return err_set(e, ERR_LIMIT, "%s: with it the request has %" PRIu64 " bytes, above the limit of %" PRIu64,
		               ctl_str(path), want.v, (uint64_t)LIMIT_FRAME_BODY_BYTES);
	return ERR_OK;
}

static int rows_load(int fd, const struct npy *n, const char *path, uint8_t **out, struct err *e)
{
	size_t len = n->data_bytes ? (size_t)n->data_bytes : 1;
	uint8_t *p = malloc(len), *rows = n->fortran && n->rank > 1 ? malloc(len) : NULL;
	int rc = !p || (n->fortran && n->rank > 1 && !rows) ? err_set(e, ERR_NOMEM, "no memory for %s", ctl_str(path))
	                                                    : all_read(fd, p, n->data_bytes, n->data_at, path, e);
	if (rc == ERR_OK && rows) {
		npy_to_rows(n, p, rows);
		uint8_t *swap = p;
		p = rows;
		rows = swap;
	}
	free(rows);
	if (rc == ERR_OK)
		*out = p;
	else
		free(p);
	return rc;
}

static void tensor_add(struct tensors *t, const struct npy *n, uint8_t *bytes)
{
	unsigned i = t->n++;
	uint64_t pad = (FRAME_TAIL_ALIGN - n->data_bytes % FRAME_TAIL_ALIGN) % FRAME_TAIL_ALIGN;
	Fumehood__Tensor *m = &t->t[i];
	t->list[i] = m;
	t->bytes[i] = bytes;
	for (unsigned d = 0; d < n->rank; d++)
		t->dims[i][d] = (int64_t)n->dims[d];
	m->type = (Fumehood__DataType)n->type;
	m->dims = t->dims[i];
	m->n_dims = n->rank;
	m->offset = t->tail_bytes;
	m->size = n->data_bytes;
	t->tail[t->n_tail++] = (struct iovec){ bytes, (size_t)n->data_bytes };
	memcpy(&t->tail[t->n_tail].iov_base, &(const uint8_t *){ zeros }, sizeof(void *)); /* iovec has no const */
	t->tail[t->n_tail++].iov_len = (size_t)pad;
	t->tail_bytes += n->data_bytes + pad;
}

static int input_read(struct tensors *t, const char *given, struct err *e)
{
	const char *eq = strrchr(given, '=');
	uint8_t head[NPY_HEADER_MAX_BYTES + 12], *bytes = NULL;
	struct npy n;
	uint64_t size = 0;
	int fd = -1;
	if (!eq || !eq[1])
		return err_set(e, ERR_USAGE, "--input \"%s\": want NAME=FILE.npy", ctl_str(given));
	if (t->n == LIMIT_TENSORS)
		return err_set(e, ERR_LIMIT, "more than %d inputs", LIMIT_TENSORS);
	int rc = file_open(eq + 1, &fd, &size, e);
	if (rc != ERR_OK)
		return rc;
	size_t have = size < sizeof head ? (size_t)size : sizeof head;
	if ((rc = all_read(fd, head, have, 0, eq + 1, e)) == ERR_OK && (rc = npy_parse(head, have, size, &n, e)) != ERR_OK)
		err_prefix(e, "%s", ctl_str(eq + 1));
	if (rc == ERR_OK && (rc = room_check(t, &n, eq + 1, e)) == ERR_OK)
		rc = rows_load(fd, &n, eq + 1, &bytes, e);
	close(fd);
	if (rc != ERR_OK)
		return rc;
	fumehood__tensor__init(&t->t[t->n]);
	t->names[t->n] = strndup(given, (size_t)(eq - given));
	t->t[t->n].name = (ProtobufCBinaryData){ (size_t)(eq - given), (uint8_t *)t->names[t->n] };
	rc = t->names[t->n] ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for a name");
	tensor_add(t, &n, bytes);
	return rc;
}

static int twice_check(const struct tensors *t, struct err *e)
{
	for (unsigned i = 0; i < t->n; i++)
		for (unsigned k = 0; k < i; k++)
			if (strcmp(t->names[i], t->names[k]) == 0)
				return err_set(e, ERR_USAGE, "--input \"%s\" stands twice", ctl_str(t->names[i]));
	return ERR_OK;
}

int tensors_read(const struct ctl *c, struct tensors *out, struct err *e)
{
	const char *given;
	int rc = ERR_OK;
	for (size_t at = 0; rc == ERR_OK && (given = ctl_next(c, "input", &at));)
		rc = input_read(out, given, e);
	return rc == ERR_OK ? twice_check(out, e) : rc;
}

void tensors_clear(struct tensors *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		free(t->bytes[i]);
		free(t->names[i]);
	}
	t->n = 0;
}

/* --- outputs ---------------------------------------------------------------------------------------- */

static int output_read(const Fumehood__Tensor *t, const struct frame_body *inner, struct output *o, struct err *e)
{
	struct ck items = ck_u64(1);
	size_t item = dtype_bytes((int)t->type);
	if (item == 0 || t->n_dims > LIMIT_RANK || t->name.len > LIMIT_NAME_BYTES)
		return err_set(e, ERR_PROTOCOL, "the worker sent an output of no known type, or of too many dimensions");
	for (size_t i = 0; i < t->n_dims; i++)
		items = ck_mul(items, ck_i64(t->dims[i]));
	uint64_t bytes;
	if (!ck_get(items, LIMIT_EXTENT, &o->n_items) || !ck_get(ck_mul(items, ck_u64(item)), t->size, &bytes) ||
	    bytes != t->size || !ck_range(t->offset, t->size, inner->tail_len) || t->offset % FRAME_TAIL_ALIGN)
		return err_set(e, ERR_PROTOCOL, "the worker sent an output whose size does not follow from its shape");
	o->name = t->name.data ? (const char *)t->name.data : "";
	o->name_len = t->name.len;
	o->type = (int)t->type;
	o->dims = t->dims;
	o->rank = t->n_dims;
	o->data = inner->tail ? inner->tail + t->offset : NULL;
	o->bytes = t->size;
	return ERR_OK;
}

int outputs_read(const struct frame_body *answer, Fumehood__Outputs **m, struct output *out, size_t *n,
                 struct err *e)
{
	struct frame_body inner;
	void *p = NULL;
	int rc = frame_inner_split(answer->tail, answer->tail_len, &inner, e);
	if (rc == ERR_OK)
		rc = pb_unpack(&fumehood__outputs__descriptor, inner.head, inner.head_len, NULL, &p, e);
	*m = p;
	*n = 0;
	if (rc == ERR_OK && (*m)->n_outputs > LIMIT_TENSORS)
		rc = err_set(e, ERR_PROTOCOL, "the worker sent more than %d outputs", LIMIT_TENSORS);
	for (size_t i = 0; rc == ERR_OK && i < (*m)->n_outputs; i++, ++*n)
		rc = output_read((*m)->outputs[i], &inner, &out[i], e);
	return rc;
}

/* --- files ---------------------------------------------------------------------------------------------- */

static bool plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
	       c == '-';
}

#define FILE_NAME_MAX 240 /* of 255 that file systems take; ".npy" and more come behind */

void output_file_name(const char *name, size_t len, char out[256])
{
	size_t o = 0, i = 0;
	for (; i < len && o + 3 <= FILE_NAME_MAX; i++) {
		if (plain(name[i]))
			out[o++] = name[i];
		else
			o += (size_t)snprintf(out + o, 4, "%%%02X", (unsigned char)name[i]);
	}
	if (i < len || len == 0) { /* '~' stands in no escaped name, so this cannot meet another output's file */
		uint8_t h[HASH_BYTES];
		char hex[HASH_HEX_BYTES + 1];
		hash_sha256(name, len, h);
		hash_hex(h, hex);
		if (o > FILE_NAME_MAX - 17)
			o = FILE_NAME_MAX - 17;
		o += (size_t)snprintf(out + o, 18, "~%.16s", hex);
	}
	snprintf(out + o, 256 - o, ".npy");
}

static bool all_write(int fd, const uint8_t *p, uint64_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n < ((size_t)1 << 30) ? (size_t)n : (size_t)1 << 30);
		if (w < 0 && errno != EINTR)
			return false;
		p += w > 0 ? w : 0;
		n -= w > 0 ? (uint64_t)w : 0;
	}
	return true;
}

int output_write(const char *dir, const struct output *o, char path[PATH_MAX], struct err *e)
{
	uint8_t head[1024];
	char name[256];
	size_t head_len = npy_header_put(head, sizeof head, o->type, o->dims, o->rank);
	output_file_name(o->name, o->name_len, name);
	int rc = path_join(dir, name, path, e);
	if (rc != ERR_OK)
		return rc;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	if (fd < 0)
		return err_set(e, ERR_IO, "%s: %s", ctl_str(path), strerror(errno));
	bool good = all_write(fd, head, head_len) && all_write(fd, o->data, o->bytes);
	int saved = errno;
	if (close(fd) != 0 && good)
		good = false, saved = errno;
	return good ? ERR_OK : err_set(e, ERR_IO, "%s: %s", ctl_str(path), strerror(saved));
}

/* --- summaries -------------------------------------------------------------------------------------------- */

static double half_get(uint16_t h)
{
	int exp = h >> 10 & 31, frac = h & 1023;
	double v = exp == 31 ? (frac ? NAN : INFINITY) : exp ? ldexp(1024 + frac, exp - 25) : ldexp(frac, -24);
	return h & 0x8000 ? -v : v;
}

static double bfloat_get(uint16_t h)
{
	uint32_t bits = (uint32_t)h << 16;
	float f;
	memcpy(&f, &bits, sizeof f);
	return (double)f;
}

#define GET_AS(c_type)                                  \
	{                                                   \
		c_type v;                                       \
		memcpy(&v, o->data + i * sizeof v, sizeof v);   \
		return (double)v;                               \
	}

static double item_get(const struct output *o, uint64_t i)
{
	switch (o->type) { /* the one place where bytes become numbers */
	case FUMEHOOD__DATA_TYPE__FLOAT32: GET_AS(float)
	case FUMEHOOD__DATA_TYPE__FLOAT64: GET_AS(double)
	case FUMEHOOD__DATA_TYPE__FLOAT16: return half_get(le16_get(o->data + 2 * i));
	case FUMEHOOD__DATA_TYPE__BFLOAT16: return bfloat_get(le16_get(o->data + 2 * i));
	case FUMEHOOD__DATA_TYPE__INT8: GET_AS(int8_t)
	case FUMEHOOD__DATA_TYPE__INT16: GET_AS(int16_t)
	case FUMEHOOD__DATA_TYPE__INT32: GET_AS(int32_t)
	case FUMEHOOD__DATA_TYPE__INT64: GET_AS(int64_t)
	case FUMEHOOD__DATA_TYPE__UINT16: GET_AS(uint16_t)
	case FUMEHOOD__DATA_TYPE__UINT32: GET_AS(uint32_t)
	case FUMEHOOD__DATA_TYPE__UINT64: GET_AS(uint64_t)
	default: GET_AS(uint8_t) /* uint8, bool */
	}
}

static void top_add(struct summary *s, double v, uint64_t at)
{
	size_t k = s->n_top;
	if (k == SUMMARY_TOP && v <= s->value[k - 1])
		return;
	k = k < SUMMARY_TOP ? s->n_top++ : k - 1;
	for (; k > 0 && s->value[k - 1] < v; k--) {
		s->value[k] = s->value[k - 1];
		s->at[k] = s->at[k - 1];
	}
	s->value[k] = v;
	s->at[k] = at;
}

void output_summary(const struct output *o, struct summary *s)
{
	double sum = 0;
	uint64_t n = 0;
	*s = (struct summary){ .min = NAN, .max = NAN, .mean = NAN };
	for (uint64_t i = 0; i < o->n_items; i++) {
		double v = item_get(o, i);
		if (isnan(v)) {
			s->n_nan++;
			continue;
		}
		s->n_inf += isinf(v) != 0;
		s->min = n == 0 || v < s->min ? v : s->min;
		s->max = n == 0 || v > s->max ? v : s->max;
		sum += v;
		n++;
		top_add(s, v, i);
	}
	if (n)
		s->mean = sum / (double)n;
}

const char *shape_text(int type, const int64_t *dims, size_t rank, const ProtobufCBinaryData *names, size_t n_names)
{
	char b[400];
	size_t n = (size_t)snprintf(b, sizeof b, "%s [", dtype_name(type));
	for (size_t i = 0; i < rank && n < sizeof b; i++) {
		n += (size_t)snprintf(b + n, sizeof b - n, "%s", i ? ", " : "");
		if (n >= sizeof b)
			break;
		if (dims[i] >= 0)
			n += (size_t)snprintf(b + n, sizeof b - n, "%" PRId64, dims[i]);
		else if (i < n_names && names[i].len)
			n += (size_t)snprintf(b + n, sizeof b - n, "%.60s", ctl_text(names[i].data, names[i].len));
		else
			n += (size_t)snprintf(b + n, sizeof b - n, "?");
	}
	if (n < sizeof b)
		snprintf(b + n, sizeof b - n, "]");
	for (char *p = b; *p; p++) /* names were escaped: escaping the backslashes again would hide them */
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	static char out[8][400];
	static unsigned at;
	at = (at + 1) % 8;
	memcpy(out[at], b, sizeof b);
	return out[at];
}

json_t *dims_json(const int64_t *dims, size_t rank)
{
	json_t *a = json_array();
	for (size_t i = 0; a && i < rank; i++)
		json_array_append_new(a, json_integer(dims[i]));
	return a;
}
