/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames, the pure part: see frame.h.
 * Side: both. Trusts: nothing it reads. Owns: nothing.
 */
#include "proto/frame.h"
#include "proto/mem.h"

#include <inttypes.h>

void frame_header_put(uint8_t out[FRAME_HEADER_BYTES], const struct frame_header *h)
{
	le32_put(out, FRAME_MAGIC);
	le16_put(out + 4, FRAME_VERSION);
	le16_put(out + 6, h->kind);
	le32_put(out + 8, 0);
	le32_put(out + 12, 0);
	le64_put(out + 16, h->length);
	le64_put(out + 24, h->request_id);
}

int frame_header_get(const uint8_t in[FRAME_HEADER_BYTES], enum role from, enum role to,
                     struct frame_header *out, struct err *e)
{
	if (le32_get(in) != FRAME_MAGIC)
		return err_set(e, ERR_PROTOCOL, "frame: wrong magic 0x%08" PRIx32 " from the %s", le32_get(in),
		               role_name(from));
	if (le16_get(in + 4) != FRAME_VERSION)
		return err_set(e, ERR_PROTOCOL, "frame: version %u from the %s, this program speaks %u: install "
		               "programs of one release", le16_get(in + 4), role_name(from), FRAME_VERSION);
	if (le32_get(in + 8) != 0 || le32_get(in + 12) != 0)
		return err_set(e, ERR_PROTOCOL, "frame: reserved bits are set");
	out->kind = le16_get(in + 6);
	out->length = le64_get(in + 16);
	out->request_id = le64_get(in + 24);
	const struct msg_row *r = msg_find(out->kind);
	if (!r)
		return err_set(e, ERR_PROTOCOL, "frame: unknown message kind 0x%04x from the %s", out->kind,
		               role_name(from));
	if (r->from != from || r->to != to)
		return err_set(e, ERR_PROTOCOL, "frame: %s is not for the %s to send to the %s", r->name,
		               role_name(from), role_name(to));
	if (out->length > r->body_max)
		return err_set(e, ERR_LIMIT, "%s of %" PRIu64 " bytes is above the limit of %" PRIu64 " bytes",
		               r->name, out->length, r->body_max);
	if (out->length < r->body_min)
		return err_set(e, ERR_PROTOCOL, "frame: %s of %" PRIu64 " bytes is too short", r->name,
		               out->length);
	return ERR_OK;
}

static int split_pb(const uint8_t *body, size_t len, uint64_t head_max, uint64_t tail_max,
                    struct frame_body *out, struct err *e)
{
	if (len < FRAME_PREFIX_BYTES)
		return err_set(e, ERR_PROTOCOL, "body: %zu bytes, no room for the prefix", len);
	uint64_t head_len = le32_get(body);
	if (le32_get(body + 4) != 0)
		return err_set(e, ERR_PROTOCOL, "body: reserved bytes of the prefix are set");
	if (head_len > head_max || head_len > len - FRAME_PREFIX_BYTES)
		return err_set(e, ERR_PROTOCOL, "body: head of %" PRIu64 " bytes does not fit", head_len);
	out->head = body + FRAME_PREFIX_BYTES;
	out->head_len = (size_t)head_len;
	out->tail = NULL;
	out->tail_len = 0;
	size_t end = FRAME_PREFIX_BYTES + (size_t)head_len;
	if (len == end)
		return ERR_OK;
	size_t front = frame_front_bytes(out->head_len, 1);
	if (len <= front)
		return err_set(e, ERR_PROTOCOL, "body: %zu bytes left over behind the head", len - end);
	for (size_t i = end; i < front; i++)
		if (body[i] != 0)
			return err_set(e, ERR_PROTOCOL, "body: padding at byte %zu is not zero", i);
	if (len - front > tail_max)
		return err_set(e, ERR_PROTOCOL, "body: tail of %zu bytes, at most %" PRIu64 " allowed",
		               len - front, tail_max);
	out->tail = body + front;
	out->tail_len = len - front;
	return ERR_OK;
}

int frame_body_split(uint16_t kind, const uint8_t *body, size_t len, struct frame_body *out,
                     struct err *e)
{
	const struct msg_row *r = msg_find(kind);
	*out = (struct frame_body){ 0 };
	if (!r)
		return err_set(e, ERR_PROTOCOL, "body: unknown kind 0x%04x", kind);
	if (len < r->body_min || len > r->body_max)
		return err_set(e, ERR_PROTOCOL, "%s: body of %zu bytes", r->name, len);
	if (r->form == FORM_FIXED) {
		out->fixed = body;
		out->fixed_len = len;
		return ERR_OK;
	}
	if (r->form == FORM_RES) {
		out->fixed = body;
		out->fixed_len = 64;
		body += 64;
		len -= 64;
	}
	return split_pb(body, len, r->head_max, r->tail_max, out, e);
}

int frame_inner_split(const uint8_t *body, size_t len, struct frame_body *out, struct err *e)
{
	*out = (struct frame_body){ 0 };
	return split_pb(body, len, LIMIT_MODEL_INFO_BYTES, LIMIT_FRAME_BODY_BYTES, out, e);
}

size_t frame_front_bytes(size_t head_len, size_t tail_len)
{
	size_t end = FRAME_PREFIX_BYTES + head_len;
	return tail_len ? (end + FRAME_TAIL_ALIGN - 1) & ~(size_t)(FRAME_TAIL_ALIGN - 1) : end;
}

void frame_prefix_put(uint8_t out[FRAME_PREFIX_BYTES], size_t head_len)
{
	le32_put(out, (uint32_t)head_len);
	le32_put(out + 4, 0);
}
