/* SPDX-License-Identifier: Apache-2.0
 *
 * Every size, count and time limit, with its unit in the name and the reason for its value.
 * Side: both. Trusts: nothing. Owns: the numbers; a refusal names the limit it met.
 */
#ifndef FUMEHOOD_PROTO_LIMITS_H
#define FUMEHOOD_PROTO_LIMITS_H

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* --- frames and messages ------------------------------------------------------------------ */
#define LIMIT_FRAME_BODY_BYTES GIB(1)     /* issue: a body is at most 1 GiB */
#define LIMIT_HEAD_BYTES KIB(64)          /* protobuf head of any message; real ones are < 4 KiB */
#define LIMIT_MODEL_INFO_BYTES MIB(1)     /* a worker's description of a model: passes unparsed */
#define LIMIT_NOTE_BYTES MIB(1)           /* model.note: reference signing.md, rule 9 */
#define LIMIT_TRUST_BYTES KIB(64)         /* trust.note: the same */
#define LIMIT_NOTE_SIGNATURES 16          /* the same */
#define LIMIT_WIRE_DEPTH 16               /* nesting of our own messages is at most 4 */
#define LIMIT_WIRE_FIELDS 65536           /* fields of one message, all levels */
#define LIMIT_WIRE_UNKNOWN 64             /* unknown fields tolerated, for newer peers */
#define LIMIT_TENSORS 256                 /* inputs or outputs of one call */
#define LIMIT_NAME_BYTES 4096             /* a tensor or model name; one real model has JSON as name */
#define LIMIT_RANK 8                      /* reference hostile-models.md, section 7 */

/* --- models ---------------------------------------------------------------------------------- */
#define LIMIT_MODEL_BYTES GIB(64)         /* one model file; a memfd of it must fit in memory */
#define LIMIT_MODEL_FILES 64              /* files of one model */
#define LIMIT_ONNX_NODES (1u << 20)
#define LIMIT_ONNX_INITIALIZERS (1u << 20)
#define LIMIT_ONNX_NAME_BYTES 4096
#define LIMIT_ONNX_IF_DEPTH 16            /* real models need 4 */
#define LIMIT_PROTOBUF_DEPTH 100
#define LIMIT_PROTOBUF_UNKNOWN 4096
#define LIMIT_EXTENT ((uint64_t)1 << 40)  /* elements of one extent */
#define LIMIT_ONNX_ATTRIBUTES 256         /* of one node; real ones have at most a dozen */
#define LIMIT_ONNX_DOMAINS 256            /* opset imports */
#define LIMIT_ONNX_METADATA 4096          /* metadata entries: each is compared with all before it */
#define LIMIT_ONNX_FOLD_ELEMENTS ((uint64_t)1 << 32) /* computed while planning: seconds, not hours */

/* --- GGUF: reference hostile-models.md, section 7 ----------------------------------------------- */
#define LIMIT_GGUF_PAIRS 65536
#define LIMIT_GGUF_TENSORS 65536
#define LIMIT_GGUF_ARRAY (1u << 24)       /* elements of one array, and never more than bytes are left */
#define LIMIT_GGUF_KEY_BYTES 65535
#define LIMIT_GGUF_STRING_BYTES MIB(1)    /* any text of the file, chat templates among them */
#define LIMIT_GGUF_TENSOR_NAME_BYTES 63
#define LIMIT_GGUF_ALIGNMENT 65536u
#define LIMIT_GGUF_TOKENS (1u << 21)      /* the largest real vocabulary has 2^18 */
#define LIMIT_GGUF_TOKEN_BYTES 65536u
#define LIMIT_GGUF_SPECIAL_BYTES 256      /* of a token that is found before tokenizing; real ones have 31 */
#define LIMIT_GGUF_TEXT_BYTES MIB(16)     /* of one text to tokenize: about 4 M tokens */
#define LIMIT_GGUF_LAYERS 512
#define LIMIT_GGUF_HEADS 1024
#define LIMIT_GGUF_WIDTH (1u << 20)

/* --- workers --------------------------------------------------------------------------------- */
#define LIMIT_ARENA_DEFAULT_BYTES GIB(4)  /* reserved, not touched: memory is used as it is needed */
#define LIMIT_ARENA_MIN_BYTES MIB(4)
#define LIMIT_THREADS 64
#define LIMIT_STACK_BYTES MIB(1)          /* per worker thread; no recursion on outside data */
#define LIMIT_WORKER_SLACK_BYTES MIB(256) /* of RLIMIT_AS: libc, tables and zeroed data of the program */
#define LIMIT_SPAWN_MS 5000               /* from a request to exec, then to "locked": 1 ms is usual */
#define LIMIT_CALL_MS 60000               /* default deadline of a call */
#define LIMIT_LOAD_MS 60000               /* default deadline of a load */

/* --- identities: see docs/threat-model.md ------------------------------------------------------ */
#define UID_BROKER_FALLBACK 61471         /* the broker's uid when no user fumehood exists */
#define UID_AUDITOR_FALLBACK 61472        /* the auditor's, when no user fumehood-audit exists */
#define UID_WORKER_FIRST 1900000          /* workers' uids, below the ranges of subuid (100000 up */
#define UID_WORKER_COUNT 65536            /* to 1.1 M by default) and of systemd (1879048192) */

/* --- clients --------------------------------------------------------------------------------- */
#define LIMIT_CLIENTS 256
#define LIMIT_CLIENT_IDLE_FRAME_MS 30000  /* a frame that was begun must go on */
#define LIMIT_QUEUE_PER_MODEL 256
#define LIMIT_CALLS_PER_CLIENT 64         /* in flight on one connection; more are not read for now */
#define LIMIT_HANDLES_PER_CLIENT 16       /* unsigned models open on one connection */
#define LIMIT_WORKERS 64                  /* live at once; an idle one makes room for a new one */
#define LIMIT_CLIENT_HELLO_MS 10000       /* from accept to HELLO */
#define LIMIT_CLIENT_DRIP_BYTES MIB(1)    /* least progress per LIMIT_CLIENT_IDLE_FRAME_MS of a frame */

/* --- log ------------------------------------------------------------------------------------- */
#define LIMIT_RECORD_BYTES 32768          /* a C2SP bundle entry is at most 65,535 bytes */
#define LIMIT_SEGMENT_DEFAULT_BYTES MIB(64)
#define LIMIT_SEGMENT_SMALL_BYTES MIB(1)  /* run and tests */
#define LIMIT_RECEIPT_BYTES KIB(16)

/* --- policy: reference cedar.md, section 12 ---------------------------------------------------- */
#define LIMIT_POLICY_TEXT_BYTES MIB(1)
#define LIMIT_POLICY_NODES 262144         /* a chain of 20,000 comparisons has 120,000 */
#define LIMIT_POLICY_DEPTH 1024
#define LIMIT_JSON_BYTES MIB(16)
#define LIMIT_JSON_DEPTH 128
#define LIMIT_EVAL_FUEL 10000000
#define LIMIT_POLICY_ANNOTATIONS 256      /* of one policy or one schema declaration */
#define LIMIT_VALUE_DEPTH 1024            /* sets and records inside one another, as deep as text may nest */
#define LIMIT_WORLD_BYTES GIB(4)          /* policies, schema and entities of one broker */
#define LIMIT_REQUEST_BYTES MIB(64)       /* facts and intermediate values of one decision */
#define LIMIT_POLICIES (1u << 20)
#define LIMIT_ENTITIES (1u << 20)
#define LIMIT_ANCESTORS 65536             /* of one entity */
#define LIMIT_ANCESTORS_TOTAL (1u << 26)  /* of all: 1 GiB of references */
#define LIMIT_REQUEST_ENTITIES 16         /* entities given with one request */
#define LIMIT_SCHEMA_BYTES MIB(1)
#define LIMIT_SCHEMA_ATTRS 4096           /* attributes of one record */
#define LIMIT_SCHEMA_NAMESPACES 1024

/* --- trust: what fits the 64 KiB of a trust.note, so that arrays can be fixed ------------------- */
#define LIMIT_TRUST_ROOTS 16              /* as many signatures as a note may have */
#define LIMIT_TRUST_SIGNERS 64            /* a set of signers is a u64 */
#define LIMIT_TRUST_ROLES 64
#define LIMIT_TRUST_DENIALS 512           /* of keys and of models, each */
#define LIMIT_TRUST_MIN_VERSIONS 256
#define LIMIT_TRUST_LOGS 32               /* tlog-policy: support at least 32 */
#define LIMIT_TRUST_STEPS 1024            /* rotations walked at one start */
#define LIMIT_TRUST_MODELS 16384          /* names ever used: a line each in the state */
#define LIMIT_TRUST_STATE_BYTES MIB(32)   /* room for them, with 16 keys each */

#endif
