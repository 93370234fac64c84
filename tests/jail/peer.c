/* SPDX-License-Identifier: Apache-2.0
 *
 * See peer.h. Locked, with its four calls and nothing else: exactly what an owned worker can say.
 *
 * Side: inside, as the attacker. Trusts: nothing. Owns: nothing.
 */
#include "tests/jail/peer.h"
#include "proto/fixed.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/mem.h"
#include "sandbox/inside/sys.h"

#include <stdint.h>
#include <string.h>

#define CHANNEL 3
#define FRAME (FRAME_HEADER_BYTES + FIXED_BYTES)

static uint8_t frame[FRAME + 256 * 1024];

static void say(size_t n)
{
	if (sys_write_exact(CHANNEL, frame, n) != (long)n)
		sys_exit_group(0);
}

/* A header of any kind and length, sound otherwise. */
static void header(uint16_t kind, uint64_t length, uint64_t id)
{
	memset(frame, 0, sizeof frame);
	frame_header_put(frame, &(struct frame_header){ kind, length, id });
}

static void fixed(uint16_t kind, const void *body)
{
	header(kind, FIXED_BYTES, 0);
	memcpy(frame + FRAME_HEADER_BYTES, body, FIXED_BYTES);
}

static const struct needs_fixed good_needs = { .graph_bytes = 4096, .weights_bytes = 4096, .plan_min_bytes = 4096,
	                                           .scratch_bytes = 4096, .io_min_bytes = PLAN_REQUEST_MIN_BYTES };

static void say_needs(const struct needs_fixed *n)
{
	fixed(MSG_NEEDS, n);
	say(FRAME);
}

static void hear(size_t n)
{
	static uint8_t heard[1 << 16];
	while (n > 0) {
		size_t want = n < sizeof heard ? n : sizeof heard;
		if (sys_read_exact(CHANNEL, heard, want) != (long)want)
			sys_exit_group(0);
		n -= want;
	}
}

/* READY or RESULT: the fixed struct, an empty head, text behind it as the head's bytes. */
static void result(uint16_t kind, uint64_t id, const struct result_fixed *r, const void *head, size_t head_len)
{
	header(kind, FIXED_BYTES + FRAME_PREFIX_BYTES + head_len, id);
	memcpy(frame + FRAME_HEADER_BYTES, r, sizeof *r);
	frame_prefix_put(frame + FRAME_HEADER_BYTES + FIXED_BYTES, head_len);
	memcpy(frame + FRAME + FRAME_PREFIX_BYTES, head, head_len);
	say(FRAME + FRAME_PREFIX_BYTES + head_len);
}

static const struct result_fixed good = { .status = 0 };

static void get_ready(void)
{
	say_needs(&good_needs);
	hear(FRAME); /* PLAN */
	result(MSG_READY, 0, &good, "", 0);
}

/* Waits for a call and returns its id. */
static uint64_t get_call(void)
{
	uint8_t h[FRAME_HEADER_BYTES];
	if (sys_read_exact(CHANNEL, h, sizeof h) != (long)sizeof h)
		sys_exit_group(0);
	hear((size_t)le64_get(h + 16));
	return le64_get(h + 24);
}

static void magic(void) { header(MSG_NEEDS, FIXED_BYTES, 0); frame[0] ^= 1; say(FRAME); }
static void flags(void) { header(MSG_NEEDS, FIXED_BYTES, 0); frame[8] = 1; say(FRAME); }
static void foreign_kind(void) { header(MSG_SPAWNED, FIXED_BYTES, 0); say(FRAME); }
static void no_kind(void) { header(0x7777, FIXED_BYTES, 0); say(FRAME); }
static void length_0(void) { header(MSG_NEEDS, 0, 0); say(FRAME_HEADER_BYTES); }
static void length_1(void) { header(MSG_NEEDS, 1, 0); say(FRAME_HEADER_BYTES + 1); }
static void length_31(void) { header(MSG_READY, 0x7fffffff, 0); say(FRAME_HEADER_BYTES); }
static void length_32(void) { header(MSG_READY, 0xffffffff, 0); say(FRAME_HEADER_BYTES); }
static void length_63(void) { header(MSG_NEEDS, 1ULL << 63, 0); say(FRAME_HEADER_BYTES); }
static void length_64(void) { header(MSG_RESULT, ~0ULL, 0); say(FRAME_HEADER_BYTES); }
static void turn(void) { result(MSG_RESULT, 1, &good, "", 0); }
static void ready_early(void) { result(MSG_READY, 0, &good, "", 0); }
static void locked_again(void)
{
	const struct locked_fixed l = { .layers = ~0ULL };
	fixed(MSG_LOCKED, &l);
	say(FRAME);
}

static void listener_again(void)
{
	const struct listener_fixed l = { 0 };
	fixed(MSG_LISTENER, &l);
	say(FRAME);
}

static void twice(void) { say_needs(&good_needs); say_needs(&good_needs); }

static void reserved(void)
{
	struct needs_fixed n = good_needs;
	n.reserved[1] = 1;
	say_needs(&n);
}

static void needs_wrap(void)
{
	struct needs_fixed n = good_needs;
	n.graph_bytes = n.weights_bytes = 1ULL << 63;
	say_needs(&n);
}

static void needs_little(void)
{
	struct needs_fixed n = good_needs;
	n.io_min_bytes = 0;
	say_needs(&n);
}

static void status(void)
{
	const struct result_fixed r = { .status = -123456 };
	result(MSG_READY, 0, &r, "", 0);
}

static void good_status(void)
{
	const struct result_fixed r = { .status = 7 };
	result(MSG_READY, 0, &r, "", 0);
}

static void tail_lie(void)
{
	const struct result_fixed r = { .status = 0, .output_bytes = 1ULL << 40 };
	say_needs(&good_needs);
	hear(FRAME);
	result(MSG_READY, 0, &r, "", 0);
}

static void prefix_lie(void) /* the head is longer than the frame */
{
	header(MSG_READY, FIXED_BYTES + FRAME_PREFIX_BYTES, 0);
	frame_prefix_put(frame + FRAME, 0xffffffff);
	say(FRAME + FRAME_PREFIX_BYTES);
}

/* Text that would break a line, a terminal or a record, in a refusal that is allowed: as a ModelInfo with one
 * Fact, and as bytes that are no message at all. */
static const char evil[] = "\n\r\x1b[2J\x1b]0;owned\x07\"},{\"code\":\"ok\"";

static void text(void)
{
	const struct result_fixed r = { .status = ERR_MODEL };
	uint8_t words[64] = { 0x22, 0, 0x0a, 3, 'o', 'd', 'd', 0x18, 2, 0x2a, sizeof evil - 1 };
	words[1] = (uint8_t)(9 + sizeof evil - 1);
	memcpy(words + 11, evil, sizeof evil - 1);
	result(MSG_READY, 0, &r, words, 11 + sizeof evil - 1);
}

static void garbage(void)
{
	const struct result_fixed r = { .status = ERR_MODEL };
	static uint8_t words[4096];
	for (size_t i = 0; i < sizeof words; i++)
		words[i] = i % 7 ? (uint8_t)evil[i % sizeof evil] : (uint8_t)(0xff - i);
	result(MSG_READY, 0, &r, words, sizeof words);
}

static void silence(void)
{
	for (;;)
		hear(1);
}

static void drip(void)
{
	header(MSG_NEEDS, FIXED_BYTES, 0);
	for (size_t i = 0;; i++) {
		sys_write_exact(CHANNEL, frame + i % FRAME_HEADER_BYTES, 1);
		for (volatile long k = 0; k < 60000000; k++)
			;
	}
}

static void flood(void)
{
	memset(frame, 0, sizeof frame);
	for (;;)
		say(sizeof frame);
}

static void flood_frames(void)
{
	get_ready();
	for (uint64_t id = 1;; id++)
		result(MSG_RESULT, id << 40, &good, "", 0);
}

static void half(void) { header(MSG_NEEDS, FIXED_BYTES, 0); say(FRAME_HEADER_BYTES / 2); sys_exit_group(0); }
static void leave(void) { sys_exit_group(0); }
static void id_lie(void) { get_ready(); result(MSG_RESULT, get_call() + 1, &good, "", 0); }
static void id_never(void) { get_ready(); result(MSG_RESULT, 1, &good, "", 0); silence(); }
static void never_answers(void) { get_ready(); get_call(); silence(); }

static void answers_twice(void)
{
	get_ready();
	uint64_t id = get_call();
	result(MSG_RESULT, id, &good, "", 0);
	result(MSG_RESULT, id, &good, "", 0);
	silence();
}

static void output_lie(void)
{
	const struct result_fixed r = { .output_bytes = ~0ULL };
	get_ready();
	result(MSG_RESULT, get_call(), &r, "", 0);
}

static void never_reads(void)
{
	get_ready();
	for (;;) {
		uint32_t word = 0; /* sleeps: nobody wakes it */
		long ret;
		register long no_timeout __asm__("r10") = 0;
		__asm__ volatile("syscall" : "=a"(ret) : "a"(202L), "D"(&word), "S"(128L), "d"(0L), "r"(no_timeout)
		                 : "rcx", "r11", "memory");
	}
}

static const struct {
	const char *name;
	void (*fn)(void);
} peers[] = {
	{ "peer-magic", magic }, { "peer-flags", flags }, { "peer-foreign-kind", foreign_kind },
	{ "peer-no-kind", no_kind }, { "peer-length-0", length_0 }, { "peer-length-1", length_1 },
	{ "peer-length-31", length_31 }, { "peer-length-32", length_32 }, { "peer-length-63", length_63 },
	{ "peer-length-64", length_64 }, { "peer-turn", turn }, { "peer-ready-early", ready_early },
	{ "peer-locked-again", locked_again }, { "peer-listener-again", listener_again }, { "peer-twice", twice },
	{ "peer-reserved", reserved }, { "peer-needs-wrap", needs_wrap }, { "peer-needs-little", needs_little },
	{ "peer-status", status }, { "peer-good-status", good_status }, { "peer-tail-lie", tail_lie },
	{ "peer-prefix-lie", prefix_lie }, { "peer-text", text }, { "peer-garbage", garbage },
	{ "peer-silence", silence }, { "peer-drip", drip },
	{ "peer-flood", flood }, { "peer-flood-frames", flood_frames }, { "peer-half", half }, { "peer-leave", leave },
	{ "peer-id-lie", id_lie }, { "peer-id-never", id_never }, { "peer-never-answers", never_answers },
	{ "peer-answers-twice", answers_twice }, { "peer-output-lie", output_lie }, { "peer-never-reads", never_reads },
};

bool peer_play(const char *name)
{
	for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++)
		if (!strcmp(peers[i].name, name)) {
			hear(FRAME - 1); /* the rest of LOAD */
			peers[i].fn();
			silence();
		}
	return false;
}
