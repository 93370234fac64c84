# fumehood: one Makefile. `make help` lists the targets; `make V=1` shows the commands.
#
# Outputs go to build/<variant>/: programs in bin/, test programs in tests/, objects in obj/,
# generated sources in gen/. Object lists are written by hand, one per program: the list is the
# proof of what a process can hold. The worker's is the shortest.

.DEFAULT_GOAL := all
VARIANT ?= release
B       := build/$(VARIANT)
PREFIX  ?= /usr/local
LIBEXEC ?= $(PREFIX)/libexec/fumehood
VERSION := 0.1.0
PY      := /usr/bin/python3
VENV    := build/venv
VPY     := $(VENV)/bin/python3
Q       := $(if $(V),,@)

CC      := gcc
MUSLCC  := musl-gcc
CLANG   := clang

WARN := -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wvla -Wsign-compare -Wundef -Wcast-qual -Wwrite-strings -Wswitch-enum
WARN_STRICT := -Wconversion
ifneq ($(CI)$(WERROR),)
WARN += -Werror
endif
HARD := -fstack-protector-strong -fstack-clash-protection -fcf-protection -D_GNU_SOURCE -pthread
OPT  := -O2 -g
FORT := -D_FORTIFY_SOURCE=3
PIE  := -fPIE
LDHARD := -Wl,-z,relro,-z,now,-z,noexecstack
BASE_CPP := -I. -I$(B)/gen -DFUMEHOOD_VERSION='"$(VERSION)"' -DFUMEHOOD_LIBEXEC='"$(LIBEXEC)"'
SAN  :=

ifeq ($(VARIANT),asan)
SAN  := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT  := -O1 -g
FORT :=
endif
ifeq ($(VARIANT),ubsan)
SAN  := -fsanitize=undefined -fno-sanitize-recover=undefined
FORT :=
endif
ifeq ($(VARIANT),tsan)
SAN  := -fsanitize=thread
OPT  := -O1 -g
FORT :=
endif
ifeq ($(VARIANT),fuzz)
CC   := $(CLANG)
SAN  := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
OPT  := -O1 -g
FORT :=
HARD := -D_GNU_SOURCE -pthread
endif

# gcc sees overflows that are none in code that a sanitizer has rewritten; release is where they count.
ifneq ($(SAN),)
WARN += -Wno-stringop-overflow -Wno-maybe-uninitialized
endif

CFLAGS = $(WARN) $(HARD) $(OPT) $(FORT) $(PIE) $(SAN) $(BASE_CPP) -MMD -MP
# Floating point: the same bits on every level (reference: contraction only where it is written).
ENGINE_CFLAGS := -ffp-contract=off -fno-math-errno

.SECONDEXPANSION:
.SECONDARY:

# --- object lists, one per room ------------------------------------------------------------------
# A room's section holds its object list, its unit tests (NAME_OBJS, NAME_LIBS per test), its fuzz
# targets and the jail tests it brings. Objects are written without the build folder.

UNIT_TESTS :=
FUZZERS :=
# Other programs of the tests and benchmarks, in tests/; each room adds a link rule beside its lists.
TEST_PROGRAMS :=
BENCH_PROGRAMS :=

# ---- proto/: the ground floor. PROTO_CORE has no library behind it but libc. ----
# PROTO_PB adds libprotobuf-c (the worker unpacks calls); PROTO_IO the sockets of trusted processes.
PROTO_CORE := proto/err.o proto/msg.o proto/frame.o
PROTO_PB   := proto/pb.o gen/proto/fumehood.pb-c.o
PROTO_IO   := proto/frame_io.o
PROTO_OBJS := $(PROTO_CORE) $(PROTO_PB) $(PROTO_IO)
UNIT_TESTS += unit_proto_msg unit_proto_frame unit_proto_pb
unit_proto_msg_OBJS := $(PROTO_CORE)
unit_proto_frame_OBJS := $(PROTO_OBJS)
unit_proto_frame_LIBS := -lprotobuf-c
unit_proto_pb_OBJS := $(PROTO_OBJS)
unit_proto_pb_LIBS := -lprotobuf-c
FUZZERS += fuzz_frame fuzz_pb
FUZZ_ALARM := fuzz_negative # must be caught: run.sh tries it first
fuzz_frame_OBJS := $(PROTO_OBJS)
fuzz_frame_LIBS := -lprotobuf-c
fuzz_pb_OBJS := $(PROTO_OBJS)
fuzz_pb_LIBS := -lprotobuf-c

# Notes and digests: libsodium and libcrypto; never in the worker or the jailer.
PROTO_CRYPTO := proto/hash.o proto/note.o proto/b64.o
PROTO_CRYPTO_LIBS := -lsodium -lcrypto
UNIT_TESTS += unit_proto_hash unit_proto_note
unit_proto_hash_OBJS := $(PROTO_CRYPTO) proto/err.o
unit_proto_hash_LIBS := $(PROTO_CRYPTO_LIBS)
unit_proto_note_OBJS := $(PROTO_CRYPTO) proto/err.o
unit_proto_note_LIBS := $(PROTO_CRYPTO_LIBS)
FUZZERS += fuzz_note
fuzz_note_OBJS := $(PROTO_CRYPTO) proto/err.o
fuzz_note_LIBS := $(PROTO_CRYPTO_LIBS)

# ---- policy/: Cedar (jansson) ----
POLICY_OBJS := policy/arena.o policy/value.o policy/intern.o policy/ext.o policy/ext_ip.o policy/ext_decimal.o policy/ext_time.o \
               policy/lex.o policy/parse.o policy/expr.o policy/print.o policy/json.o policy/entities.o \
               policy/schema_parse.o policy/schema.o policy/eval.o policy/index.o policy/world.o \
               policy/request.o policy/decide.o policy/load.o
POLICY_TESTS := unit_policy_values unit_policy_text unit_policy_decide unit_policy_files unit_policy_corpus unit_policy_quirks unit_policy_example
UNIT_TESTS += $(POLICY_TESTS)
$(foreach t,$(POLICY_TESTS),$(eval $(t)_OBJS := $(POLICY_OBJS) $(PROTO_CORE)))
$(foreach t,$(POLICY_TESTS),$(eval $(t)_LIBS := -ljansson))
POLICY_FUZZERS := fuzz_policy_text fuzz_policy_entities fuzz_policy_schema
FUZZERS += $(POLICY_FUZZERS)
$(foreach t,$(POLICY_FUZZERS),$(eval $(t)_OBJS := $(POLICY_OBJS) $(PROTO_CORE)))
$(foreach t,$(POLICY_FUZZERS),$(eval $(t)_LIBS := -ljansson))
TEST_PROGRAMS += policy_tool
BENCH_PROGRAMS += bench_policy
POLICY_TOOL_OBJS := tests/judges/cedar_tool.o $(POLICY_OBJS) $(PROTO_CORE)
POLICY_BENCH_OBJS := tests/bench/bench_policy.o $(POLICY_OBJS) $(PROTO_CORE)

# ---- audit/: the log; the auditor's main is audit/auditor.o (libcrypto, libsodium, protobuf-c) ----
# AUDIT_LOG_OBJS: formats, tree, reader; what broker and command link. AUDIT_WRITE_OBJS: the auditor's and the
# crash tests' part. Libraries: AUDIT_LIBS.
AUDIT_LOG_OBJS   := $(addprefix audit/,tree.o tile.o checkpoint.o entry.o segment.o store_posix.o scan.o state.o \
                      receipt.o client.o)
AUDIT_READ_OBJS  := audit/reader.o audit/verify.o
AUDIT_WRITE_OBJS := audit/publish.o audit/prepare.o audit/writer.o
AUDIT_OBJS       := $(AUDIT_LOG_OBJS) $(AUDIT_READ_OBJS)
AUDIT_LIBS       := -lprotobuf-c $(PROTO_CRYPTO_LIBS)
AUDITOR_OBJS      = audit/auditor.o $(AUDIT_WRITE_OBJS) $(AUDIT_LOG_OBJS) $(WALL_OBJS) $(PROTO_CRYPTO) $(PROTO_OBJS)
$(B)/bin/fumehood-auditor: $$(addprefix $(B)/obj/,$$(AUDITOR_OBJS))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $(filter %.o,$^) $(AUDIT_LIBS)

AUDIT_TEST_OBJS  := $(AUDIT_OBJS) $(AUDIT_WRITE_OBJS) $(PROTO_CRYPTO) $(PROTO_OBJS)
AUDIT_TESTS := unit_audit_tree unit_audit_receipt unit_audit_segment unit_audit_writer unit_audit_tamper
UNIT_TESTS += $(AUDIT_TESTS)
$(foreach t,$(AUDIT_TESTS),$(eval $(t)_OBJS := $(AUDIT_TEST_OBJS)) $(eval $(t)_LIBS := $(AUDIT_LIBS)))
FUZZERS += fuzz_audit_segment fuzz_audit_verify
$(foreach t,fuzz_audit_segment fuzz_audit_verify,$(eval $(t)_OBJS := $(AUDIT_TEST_OBJS)) $(eval $(t)_LIBS := $(AUDIT_LIBS)))

TEST_PROGRAMS += crash_log
$(B)/tests/crash_log: $$(addprefix $(B)/obj/,tests/crash/crash_log.o tests/crash/liar.o $$(AUDIT_TEST_OBJS))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $(filter %.o,$^) $(AUDIT_LIBS) -lcmocka

TEST_PROGRAMS += crash_kill audit_fill audit_process
$(B)/tests/crash_kill: $(B)/obj/tests/crash/crash_kill.o
$(B)/tests/audit_fill: $(B)/obj/tests/judges/audit_fill.o
$(B)/tests/audit_process: $(B)/obj/tests/crash/audit_process.o
BENCH_PROGRAMS += bench_log
$(B)/tests/bench_log: $(B)/obj/tests/bench/bench_log.o
$(addprefix $(B)/tests/,crash_kill audit_fill audit_process bench_log): $$(addprefix $(B)/obj/,$$(AUDIT_OBJS) $$(PROTO_CRYPTO) $$(PROTO_OBJS))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $(filter %.o,$^) $(AUDIT_LIBS) -lcmocka -lm

# ---- sandbox/outside and sandbox/wall: jailer (static, musl), spawn, wall, filters ----
# STEP_OBJS are the layers as functions: in the jailer (musl), the worker's start, broker and auditor.
STEP_OBJS    := sandbox/wall/layers.o sandbox/wall/process.o sandbox/wall/caps.o sandbox/wall/rlimits.o \
                sandbox/wall/fds.o sandbox/wall/landlock.o sandbox/wall/namespaces.o sandbox/wall/seccomp.o
JAILER_OBJS  := $(addprefix sandbox/outside/,jailer.o jail_once.o jail_child.o jail_clone.o jail_template.o) \
                $(STEP_OBJS)
# WALL_OBJS: what broker and auditor need to wall themselves. SPAWN_OBJS: the broker's hold on the jailer.
WALL_OBJS    := $(STEP_OBJS) sandbox/wall/wall.o sandbox/wall/probe.o
SPAWN_OBJS   := $(addprefix sandbox/outside/,spawn.o word.o verify.o verdict.o violation.o advice.o spare.o memfd.o attempt.o)
# START_OBJS: a worker's way from exec, or from its template's fork, to "locked" (with PROTO_CORE and KERNEL_OBJS).
START_OBJS   := sandbox/inside/start.o $(addprefix sandbox/outside/,template.o jail_child.o jail_clone.o) $(STEP_OBJS)
ATTACK_OBJS  := tests/jail/attack.o tests/jail/peer.o $(START_OBJS) sandbox/inside/engine/kernels/pool.o $(PROTO_CORE)
RULES        := sandbox/wall/worker_strict.rules sandbox/wall/worker_report.rules sandbox/wall/worker_door.rules \
                sandbox/wall/worker_startup.rules \
                sandbox/wall/jailer.rules sandbox/wall/broker.rules sandbox/wall/auditor.rules
UNIT_TESTS   += unit_wall_filters unit_wall_proof unit_wall_verdict unit_wall_layers unit_wall_violation
unit_wall_filters_OBJS := $(WALL_OBJS) $(PROTO_CORE)
unit_wall_proof_OBJS   := $(SPAWN_OBJS) $(WALL_OBJS) $(PROTO_CORE)
unit_wall_verdict_OBJS := $(SPAWN_OBJS) $(WALL_OBJS) $(PROTO_CORE)
unit_wall_layers_OBJS  := $(WALL_OBJS) $(PROTO_CORE)
unit_wall_violation_OBJS := $(SPAWN_OBJS) $(WALL_OBJS) $(PROTO_CORE)
FUZZERS        += fuzz_wall_proof
fuzz_wall_proof_OBJS := $(SPAWN_OBJS) $(WALL_OBJS) $(PROTO_CORE)
HARNESS_OBJS   := sandbox/outside/harness.o $(SPAWN_OBJS) $(WALL_OBJS) $(PROTO_CORE)
TEST_PROGRAMS  += jail_run jail_try env_run fumehood-jailer-test fumehood-attack-open
BENCH_PROGRAMS += bench_spawn

$(B)/tools/bpf_gen: sandbox/wall/bpf_gen.c
	@mkdir -p $(@D)
	$(Q)gcc $(WARN) -D_GNU_SOURCE -O2 -o $@ $< -lseccomp
$(B)/gen/filters.h: $(B)/tools/bpf_gen $(RULES)
	@mkdir -p $(@D)
	$(Q)$< $@ $(@:.h=.txt) $(foreach r,$(RULES),$(basename $(notdir $(r)))=$(r)) || { rm -f $@; exit 1; }
# The same lists for arm64: generated and walked on every build, not yet supported.
$(B)/gen/filters_arm64.h: $(B)/tools/bpf_gen $(RULES)
	@mkdir -p $(@D)
	$(Q)$< --arm64 $@ $(@:.h=.txt) $(foreach r,$(RULES),$(basename $(notdir $(r)))_arm64=$(r)) || { rm -f $@; exit 1; }
$(B)/gen/call_names.h: $(B)/tools/bpf_gen
	@mkdir -p $(@D)
	$(Q)$< --names $@ || { rm -f $@; exit 1; }
$(B)/obj/tests/unit/unit_wall_filters.o: | $(B)/gen/filters_arm64.h
$(B)/obj/sandbox/outside/violation.o: | $(B)/gen/call_names.h
$(B)/gen/filters_test.h: $(B)/tools/bpf_gen tests/jail/startup_old.rules $(RULES)
	@mkdir -p $(@D)
	$(Q)$< $@ $(@:.h=.txt) startup_old=tests/jail/startup_old.rules || { rm -f $@; exit 1; }

# musl finds the kernel's headers behind its own. No sanitizer: the jailer is the same in every variant.
MUSL_CFLAGS = $(WARN) -fstack-protector-strong -fstack-clash-protection -fcf-protection -D_GNU_SOURCE -O2 -g \
              $(PIE) $(BASE_CPP) -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu -MMD -MP
$(B)/musl/%.o: %.c | $(B)/gen/filters.h
	@mkdir -p $(@D)
	$(if $(V),,@echo "  MUSL  $(VARIANT) $<")
	$(Q)$(MUSLCC) $(MUSL_CFLAGS) -c -o $@ $<
$(B)/musl-test/%.o: %.c | $(B)/gen/filters.h $(B)/gen/filters_test.h
	@mkdir -p $(@D)
	$(Q)$(MUSLCC) $(MUSL_CFLAGS) -DFUMEHOOD_JAILER_TEST -c -o $@ $<
-include $(shell find $(B)/musl $(B)/musl-test -name '*.d' 2>/dev/null)
# Debian's musl-gcc does not know -static-pie: its start files and flags are spelled out.
MUSL_LIB := /usr/lib/x86_64-linux-musl
MUSL_LINK = $(MUSLCC) -nostartfiles -static -Wl,-pie,--no-dynamic-linker,-z,text $(LDHARD) -o $@ \
            $(MUSL_LIB)/rcrt1.o $(MUSL_LIB)/crti.o $(filter %.o,$^) $(MUSL_LIB)/crtn.o
$(B)/bin/fumehood-jailer: $(JAILER_OBJS:%=$(B)/musl/%)
	@mkdir -p $(@D)
	$(Q)$(MUSL_LINK)
$(B)/tests/fumehood-jailer-test: $(JAILER_OBJS:%=$(B)/musl-test/%) $(B)/musl-test/tests/jail/jail_test.o
	@mkdir -p $(@D)
	$(Q)$(MUSL_LINK)
# The mark at the end is what the test jailer looks for: it starts nothing else.
$(B)/bin/fumehood-attack: $(ATTACK_OBJS:%=$(B)/obj/%)
	@mkdir -p $(@D)
	$(Q)gcc -static-pie -pthread $(LDHARD) -o $@.tmp $^ && printf 'fumehood attack\n' >> $@.tmp && mv $@.tmp $@
$(B)/tests/jail_run: $(addprefix $(B)/obj/,tests/jail/jail_run.o $(HARNESS_OBJS))
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $^
$(B)/tests/jail_try: $(addprefix $(B)/obj/,tests/jail/jail_try.o tests/jail/env.o $(HARNESS_OBJS))
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $^
$(B)/tests/env_run: $(addprefix $(B)/obj/,tests/jail/env_run.o tests/jail/env.o $(WALL_OBJS) $(PROTO_CORE))
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $^
# The attack program with a start that leaves out what the test jailer says. No other program has that start.
$(B)/start-test/start.o: sandbox/inside/start.c | $(B)/gen/filters.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -DFUMEHOOD_START_TEST -c -o $@ $<
-include $(wildcard $(B)/start-test/start.d)
$(B)/tests/fumehood-attack-open: $(filter-out %/sandbox/inside/start.o,$(ATTACK_OBJS:%=$(B)/obj/%)) $(B)/start-test/start.o
	@mkdir -p $(@D)
	$(Q)gcc -static-pie -pthread $(LDHARD) -o $@.tmp $^ && printf 'fumehood attack\n' >> $@.tmp && mv $@.tmp $@
$(B)/tests/bench_spawn: $(addprefix $(B)/obj/,tests/bench/bench_spawn.o $(SPAWN_OBJS) $(WALL_OBJS) $(PROTO_CORE))
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $^

# ---- sandbox/inside/engine/kernels ----
KERNEL_OBJS := $(addprefix sandbox/inside/engine/kernels/,pool.o level.o pack.o kernels_c.o \
                 kernels_avx2.o kernels_avx512.o)
# The bodies are compiled once per level; only these files may hold instructions of their level.
KERNEL_DIR := $(B)/obj/sandbox/inside/engine/kernels
$(KERNEL_DIR)/kernels_avx2.o: CFLAGS += -mavx2 -mfma
$(KERNEL_DIR)/kernels_avx512.o: CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
# They parse nothing, and clang needs ten minutes to instrument them: fuzz programs take them plain
# (unit tests run them under gcc's sanitizers).
ifeq ($(VARIANT),fuzz)
$(KERNEL_DIR)/kernels_c.o $(KERNEL_DIR)/kernels_avx2.o $(KERNEL_DIR)/kernels_avx512.o: SAN :=
endif
# OpenBLAS (serial) and the wraps that keep it from the kernel; objects first, then BLAS_LINK.
BLAS_OBJS := $(addprefix sandbox/inside/engine/kernels/,blas.o blas_wrap.o)
BLAS_LINK := -Wl,--wrap=blas_memory_alloc,--wrap=blas_memory_free,--wrap=malloc,--wrap=free \
             /usr/lib/x86_64-linux-gnu/openblas-serial/libopenblas.a
KERNEL_TESTS := unit_kernels_pool unit_kernels_math unit_kernels_gemm unit_kernels_conv
# The AVX2 core on a better processor: tests and benchmarks only.
BLAS_AVX2_OBJS := $(addprefix sandbox/inside/engine/kernels/,blas_avx2.o blas_wrap.o)
$(KERNEL_DIR)/blas_avx2.o: sandbox/inside/engine/kernels/blas.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -DBLAS_LEVEL=LEVEL_AVX2 -c -o $@ $<
UNIT_TESTS += unit_kernels_blas unit_kernels_blas_avx2
unit_kernels_blas_OBJS = $(KERNEL_OBJS) $(BLAS_OBJS)
unit_kernels_blas_LIBS = $(BLAS_LINK)
unit_kernels_blas_avx2_OBJS = $(KERNEL_OBJS) $(BLAS_AVX2_OBJS)
unit_kernels_blas_avx2_LIBS = $(BLAS_LINK)
BENCH_PROGRAMS += bench_kernels bench_kernels_avx2
$(B)/tests/bench_kernels: $(addprefix $(B)/obj/,tests/bench/bench_kernels.o $(KERNEL_OBJS) $(BLAS_OBJS))
$(B)/tests/bench_kernels_avx2: $(addprefix $(B)/obj/,tests/bench/bench_kernels.o $(KERNEL_OBJS) $(BLAS_AVX2_OBJS))
$(B)/tests/bench_kernels $(B)/tests/bench_kernels_avx2:
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pthread -pie $(LDHARD) -o $@ $(filter %.o,$^) $(BLAS_LINK) -lm
UNIT_TESTS += $(KERNEL_TESTS)
$(foreach t,$(KERNEL_TESTS),$(eval $(t)_OBJS := $(KERNEL_OBJS)))

# ---- engine/gguf: language models: reader, facts ----
GGUF_OBJS := $(addprefix sandbox/inside/engine/gguf/,read.o tensors.o types.o strmap.o check.o vocab.o facts.o sha256.o dequant.o \
  tok.o tok_vocab.o tok_pre.o tok_bpe.o tok_spm.o tok_wpm.o unicode.o)
$(B)/obj/sandbox/inside/engine/gguf/%.o: CFLAGS += $(WARN_STRICT)
GGUF_BELOW := $(GGUF_OBJS) sandbox/inside/engine/arena.o proto/err.o
UNIT_TESTS += unit_gguf_corpus
unit_gguf_corpus_OBJS := $(GGUF_BELOW)
$(B)/tests/unit_gguf_corpus: | $(B)/gguf-corpus/manifest.txt
UNIT_TESTS += unit_gguf_dequant
unit_gguf_dequant_OBJS := $(GGUF_BELOW) $(KERNEL_OBJS)
UNIT_TESTS += unit_gguf_tok
unit_gguf_tok_OBJS := $(GGUF_BELOW)
$(B)/tests/unit_gguf_tok: | $(B)/gguf-corpus/manifest.txt
FUZZERS += fuzz_gguf_tok
fuzz_gguf_tok_OBJS := $(GGUF_BELOW)
# The reader, dequantisation and tokenizers without a worker, for the judges; never installed.
TEST_PROGRAMS += gguf_tool gguf_tokenize
$(B)/tests/gguf_tool: $(addprefix $(B)/obj/,tests/judges/gguf_tool.o $(GGUF_BELOW) $(KERNEL_OBJS))
$(B)/tests/gguf_tokenize: $(addprefix $(B)/obj/,tests/judges/gguf_tokenize.o $(GGUF_BELOW))
$(B)/tests/gguf_tool $(B)/tests/gguf_tokenize:
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pthread -pie $(LDHARD) -o $@ $(filter %.o,$^) -lm
FUZZERS += fuzz_gguf
fuzz_gguf_OBJS := $(GGUF_BELOW)
# Good and bad files, written from descriptions: no binary corpus is kept.
$(B)/gguf-corpus/manifest.txt: tests/models/make_gguf.py
	$(Q)$(PY) -B tests/models/make_gguf.py $(@D)

# ---- sandbox/inside/engine: arena, types, onnx/ ----
ENGINE_OBJS := $(GGUF_OBJS) $(addprefix sandbox/inside/engine/,arena.o dtype.o engine.o) \
  $(addprefix sandbox/inside/engine/onnx/,wire.o load.o tensor.o graph.o resolve.o needed.o facts.o ops.o \
    nd.o ops_shape.o ops_move.o ops_unary.o ops_binary.o ops_reduce.o ops_matmul.o ops_conv.o ops_pool.o \
    ops_norm.o ops_rnn.o ops_resize.o ops_quant.o infer.o rewrite.o patterns.o fuse.o shuffle.o lower.o \
    pack.o steps.o blas_step.o memory.o session.o)
# The engine without a worker, for judges and measuring; never installed.
ONNX_RUN_OBJS := $(ENGINE_OBJS) $(KERNEL_OBJS) proto/err.o
$(B)/tests/onnx_run: $(addprefix $(B)/obj/,tests/judges/onnx_run.o $(ONNX_RUN_OBJS))
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -pthread -pie $(LDHARD) -Wl,--wrap=kernels_get -o $@ $^ -lm

# The same as a processor with AVX2 alone runs it, OpenBLAS's products included.
$(B)/tests/onnx_run_avx2: $(addprefix $(B)/obj/,tests/judges/onnx_run.o $(ONNX_RUN_OBJS) \
  sandbox/inside/engine/kernels/blas_avx2.o sandbox/inside/engine/kernels/blas_wrap.o)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -pthread -pie $(LDHARD) -Wl,--wrap=kernels_get -o $@ $^ $(BLAS_LINK) -lm

TEST_PROGRAMS += onnx_run onnx_run_avx2
ONNX_TESTS := unit_onnx_corpus unit_onnx_session unit_onnx_wire
UNIT_TESTS += $(ONNX_TESTS)
$(foreach t,$(ONNX_TESTS),$(eval $(t)_OBJS := $(ONNX_RUN_OBJS)))
$(ONNX_TESTS:%=$(B)/tests/%): | $(B)/onnx-corpus/manifest.txt
FUZZERS += fuzz_onnx
fuzz_onnx_OBJS := $(ONNX_RUN_OBJS)
$(B)/fuzz/fuzz_onnx: | $(B)/fuzz/corpus/fuzz_onnx/manifest.txt
$(B)/fuzz/corpus/fuzz_onnx/manifest.txt: tests/models/make_onnx.py tests/models/onnx_pb.py
	$(Q)$(PY) -B tests/models/make_onnx.py $(@D) 20000
# Good and bad files, written from descriptions: no binary corpus is kept.
$(B)/onnx-corpus/manifest.txt: tests/models/make_onnx.py tests/models/onnx_pb.py
	$(Q)$(PY) -B tests/models/make_onnx.py $(@D)

# ---- sandbox/inside: the worker ----
# libc, protobuf-c and OpenBLAS, statically, and nothing else. The lint looks at these objects.
WORKER_OBJS = $(addprefix sandbox/inside/,worker.o serve.o) $(START_OBJS) $(ENGINE_OBJS) $(KERNEL_OBJS) \
              $(BLAS_OBJS) $(PROTO_CORE) $(PROTO_PB)
$(B)/bin/fumehood-worker: $$(addprefix $(B)/obj/,$$(WORKER_OBJS))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)gcc -static-pie -pthread $(LDHARD) -o $@ $(filter %.o,$^) $(BLAS_LINK) -l:libprotobuf-c.a -lm

# ---- broker/trust: trust.note, model.note, monotonic state (libsodium, libcrypto) ----
TRUST_OBJS := broker/trust/lines.o broker/trust/trust.o broker/trust/model.o broker/trust/state.o
UNIT_TESTS += unit_trust_note unit_trust_state
unit_trust_note_OBJS := $(TRUST_OBJS) $(PROTO_CRYPTO) proto/err.o
unit_trust_note_LIBS := $(PROTO_CRYPTO_LIBS)
unit_trust_state_OBJS := $(unit_trust_note_OBJS)
unit_trust_state_LIBS := $(PROTO_CRYPTO_LIBS)
FUZZERS += fuzz_trust_note fuzz_model_note
fuzz_trust_note_OBJS := $(unit_trust_note_OBJS)
fuzz_trust_note_LIBS := $(PROTO_CRYPTO_LIBS)
fuzz_model_note_OBJS := $(unit_trust_note_OBJS)
fuzz_model_note_LIBS := $(PROTO_CRYPTO_LIBS)

# ---- broker/ ----
# BROKER_PARTS: what unit tests link; BROKER_OBJS: the program.
BROKER_PARTS := $(addprefix broker/,loop.o conf.o helper.o place.o gate.o gate_client.o request.o record.o log.o isolation.o \
                  rate.o facts.o copy.o quarantine.o cgroup.o models.o models_job.o pool.o pool_worker.o client.o call.o call_infer.o call_open.o \
                  call_admit.o call_attempt.o call_read.o)
BROKER_BELOW  = $(TRUST_OBJS) $(POLICY_OBJS) $(AUDIT_LOG_OBJS) $(SPAWN_OBJS) $(WALL_OBJS) $(PROTO_OBJS) $(PROTO_CRYPTO)
BROKER_OBJS   = broker/broker.o broker/start.o $(BROKER_PARTS) $(BROKER_BELOW)
BROKER_LIBS  := -ljansson -lprotobuf-c $(PROTO_CRYPTO_LIBS) -lm
$(B)/bin/fumehood-broker: $$(addprefix $(B)/obj/,$$(BROKER_OBJS))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $(filter %.o,$^) $(BROKER_LIBS)
UNIT_TESTS += unit_broker_request unit_broker_gate unit_broker_conf
unit_broker_request_OBJS := broker/request.o
unit_broker_gate_OBJS = $(BROKER_PARTS) $(BROKER_BELOW)
unit_broker_gate_LIBS = $(BROKER_LIBS)
unit_broker_conf_OBJS = broker/conf.o broker/isolation.o $(WALL_OBJS) $(PROTO_CORE)
unit_broker_conf_LIBS := -ljansson
UNIT_TESTS += unit_broker_facts unit_broker_log
unit_broker_facts_OBJS = $(addprefix broker/,conf.o isolation.o facts.o rate.o) $(BROKER_BELOW)
unit_broker_facts_LIBS = $(BROKER_LIBS)
unit_broker_log_OBJS = $(addprefix broker/,log.o loop.o gate.o) $(BROKER_BELOW)
unit_broker_log_LIBS = $(BROKER_LIBS)
UNIT_TESTS += unit_broker_models
unit_broker_models_OBJS = $(addprefix broker/,models.o models_job.o copy.o loop.o) $(BROKER_BELOW)
unit_broker_models_LIBS = $(BROKER_LIBS)
FUZZERS += fuzz_broker_conf
fuzz_broker_conf_OBJS = broker/conf.o broker/isolation.o $(WALL_OBJS) $(PROTO_CORE)
fuzz_broker_conf_LIBS := -ljansson
UNIT_TESTS += unit_broker_client
unit_broker_client_OBJS = $(BROKER_PARTS) $(BROKER_BELOW)
unit_broker_client_LIBS = $(BROKER_LIBS)
UNIT_TESTS += unit_broker_quarantine
unit_broker_quarantine_OBJS := broker/quarantine.o
# A child of the test stands in for the jailed worker.
UNIT_TESTS += unit_broker_pool unit_broker_share
unit_broker_pool_OBJS = $(addprefix broker/,isolation.o quarantine.o cgroup.o pool.o pool_worker.o models.o models_job.o copy.o loop.o gate.o) $(BROKER_BELOW)
unit_broker_pool_LIBS = $(BROKER_LIBS) $(foreach f,jailer_spawn worker_locked worker_verify worker_limits_close,-Wl,--wrap=$f)
unit_broker_share_OBJS = $(unit_broker_pool_OBJS)
unit_broker_share_LIBS = $(unit_broker_pool_LIBS)

# ---- broker/ctl: the fumehood command ----
CTL_OBJS := $(addprefix broker/ctl/,main.o options.o out.o files.o notes.o npy.o tensors.o call.o talk.o \
              talk_start.o talk_receipt.o cmd_run.o cmd_inspect.o cmd_keygen.o cmd_sign.o cmd_trust.o cmd_verify.o \
              cmd_admit.o cmd_list.o cmd_infer.o cmd_serve.o cmd_status.o cmd_audit.o cmd_doctor.o cmd_config.o \
              cmd_version.o settings.o checks.o self_test.o) broker/conf.o broker/isolation.o broker/helper.o broker/place.o
CTL_BELOW = $(TRUST_OBJS) $(AUDIT_OBJS) $(SPAWN_OBJS) sandbox/outside/harness.o $(WALL_OBJS) $(PROTO_OBJS) $(PROTO_CRYPTO)
# What fumehood doctor --self-test tries: the suite's own list.
$(B)/gen/attempts.h: tests/jail/attempts.txt tests/jail/attempts_gen.py
	@mkdir -p $(@D)
	$(Q)$(PY) -B tests/jail/attempts_gen.py $< > $@ || { rm -f $@; exit 1; }
$(B)/obj/broker/ctl/self_test.o: | $(B)/gen/attempts.h
$(B)/bin/fumehood: $$(addprefix $(B)/obj/,$(CTL_OBJS) $$(CTL_BELOW))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $(filter %.o,$^) -ljansson -lprotobuf-c $(PROTO_CRYPTO_LIBS) -lm
CTL_TESTED = $(addprefix broker/ctl/,options.o out.o files.o npy.o tensors.o talk.o talk_start.o talk_receipt.o) \
             broker/conf.o broker/isolation.o broker/helper.o broker/place.o $(CTL_BELOW)
UNIT_TESTS += unit_ctl_npy unit_ctl_options unit_ctl_tensors unit_ctl_talk
$(foreach t,unit_ctl_options unit_ctl_tensors unit_ctl_talk,$(eval $(t)_OBJS = $$(CTL_TESTED)) \
  $(eval $(t)_LIBS = -ljansson -lprotobuf-c $$(PROTO_CRYPTO_LIBS)))
unit_ctl_npy_OBJS := broker/ctl/npy.o broker/ctl/out.o $(PROTO_CRYPTO) $(PROTO_CORE)
unit_ctl_npy_LIBS := $(PROTO_CRYPTO_LIBS) -ljansson
FUZZERS += fuzz_npy
fuzz_npy_OBJS := $(unit_ctl_npy_OBJS)
fuzz_npy_LIBS := $(PROTO_CRYPTO_LIBS) -ljansson

# ---- tests: end to end, demo, bench against ONNX Runtime ----
# engine_bench holds the worker's own objects; service_bench is a client. Neither is installed.
SIDE_OBJS := tests/bench/bench_side.o
ENGINE_BENCH_OBJS = tests/bench/engine_bench.o tests/bench/peak.o $(SIDE_OBJS) $(ENGINE_OBJS) $(KERNEL_OBJS) \
                    $(BLAS_OBJS) $(PROTO_CORE) $(PROTO_PB)
SERVICE_BENCH_OBJS = tests/bench/service_bench.o $(SIDE_OBJS) $(PROTO_OBJS)
BENCH_PROGRAMS += engine_bench service_bench
$(B)/tests/engine_bench: $$(addprefix $(B)/obj/,$$(ENGINE_BENCH_OBJS))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)gcc -static-pie -pthread $(LDHARD) -o $@ $(filter %.o,$^) $(BLAS_LINK) -l:libprotobuf-c.a -lm
$(B)/tests/service_bench: $(SERVICE_BENCH_OBJS:%=$(B)/obj/%)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pie $(LDHARD) -o $@ $(filter %.o,$^) -lprotobuf-c

# --- programs ----------------------------------------------------------------------------------

PROGRAMS := fumehood fumehood-broker fumehood-jailer fumehood-auditor fumehood-worker fumehood-attack

.PHONY: all
all: $(PROGRAMS:%=$(B)/bin/%)

# --- rules ----------------------------------------------------------------------------------------

OBJ = $(B)/obj

# proto, policy and audit handle numbers from outside: conversions must be written down there.
$(OBJ)/proto/%.o $(OBJ)/policy/%.o $(OBJ)/audit/%.o: CFLAGS += $(WARN_STRICT)
$(OBJ)/sandbox/inside/engine/%.o: CFLAGS += $(ENGINE_CFLAGS)

# Generated sources: made before anything is compiled (order only).
GEN := $(B)/gen/proto/fumehood.pb-c.h $(B)/gen/filters.h
$(B)/gen/proto/%.pb-c.c $(B)/gen/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	$(Q)protoc-c --c_out=$(B)/gen -I. $<

$(OBJ)/%.o: %.c | $$(GEN)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $(VARIANT) $<")
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

# Another PREFIX than last time: what has it compiled in is made again.
.PHONY: FORCE
$(B)/gen/libexec.txt: FORCE
	@mkdir -p $(@D)
	@echo '$(LIBEXEC)' | cmp -s - $@ || echo '$(LIBEXEC)' > $@
$(OBJ)/broker/helper.o: $(B)/gen/libexec.txt

# Generated code compiles without the project's warnings (protobuf-c breaks -Wcast-qual).
$(OBJ)/gen/%.o: $(B)/gen/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -w $(HARD) $(OPT) $(PIE) $(SAN) $(BASE_CPP) -MMD -MP -c -o $@ $<

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# Unit tests: tests/unit/NAME.c plus NAME_OBJS, libraries NAME_LIBS.
$(UNIT_TESTS:%=$(B)/tests/%): $(B)/tests/%: $(OBJ)/tests/unit/%.o $$(addprefix $$(OBJ)/,$$($$(@F)_OBJS))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pthread -pie $(LDHARD) -o $@ $(filter %.o,$^) $($*_LIBS) -lcmocka -lm

# policy/: the tool behind tests/judges/cedar_judge.py, and its bench.
$(B)/tests/policy_tool: $(addprefix $(OBJ)/,$(POLICY_TOOL_OBJS))
$(B)/tests/bench_policy: $(addprefix $(OBJ)/,$(POLICY_BENCH_OBJS))
$(B)/tests/policy_tool $(B)/tests/bench_policy:
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CC) $(SAN) -pthread -pie $(LDHARD) -o $@ $(filter %.o,$^) -ljansson

# Fuzz targets: tests/fuzz/NAME.c plus NAME_OBJS (make VARIANT=fuzz).
$(patsubst %,$(B)/fuzz/%,$(FUZZERS) $(FUZZ_ALARM)): $(B)/fuzz/%: $(OBJ)/tests/fuzz/%.o $$(addprefix $$(OBJ)/,$$($$(@F)_OBJS))
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $(VARIANT) $(@F)")
	$(Q)$(CLANG) $(SAN:fuzzer-no-link=fuzzer) -fsanitize=fuzzer -pthread -o $@ $(filter %.o,$^) $($*_LIBS) -lm

# Runs every unit test and closes with counts.
.PHONY: unit
unit: $(UNIT_TESTS:%=$(B)/tests/%)
	@sh tests/unit/run.sh $(B) $(UNIT_TESTS)

# --- setting up --------------------------------------------------------------------------------------

# Everything comes from Debian 12; the judges' Python packages are pinned in tests/judges.
PACKAGES := gcc libc6-dev make musl-tools clang libclang-rt-14-dev pkgconf binutils \
            libseccomp-dev libsodium-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler \
            libopenblas-serial-dev libssl-dev libjansson-dev libcmocka-dev \
            python3 python3-venv python3-pip python3-pytest python3-numpy python3-pil fonts-dejavu-core \
            espeak-ng bubblewrap minisign golang-go golang-golang-x-mod-dev util-linux

.PHONY: deps venv
deps:
	@sh tests/deps.sh $(PACKAGES)

# The judges' own Python: Debian's packages plus pinned wheels. Without a network the judges that need it skip loudly.
venv: $(VENV)/.ready
$(VENV)/.ready: tests/judges/requirements.txt
	@sh tests/venv.sh $(VENV) tests/judges/requirements.txt && touch $@

# --- proving it ----------------------------------------------------------------------------------------

.PHONY: check check-run check-long lint jail e2e crash judges asan ubsan tsan fuzz-smoke bench demo programs-for-tests
programs-for-tests: all $(UNIT_TESTS:%=$(B)/tests/%) $(TEST_PROGRAMS:%=$(B)/tests/%)

check: deps
	@+sh tests/check.sh check
check-long: deps
	@+sh tests/check.sh long

lint: $(B)/worker.objs
	@$(PY) tests/lint/lint.py . $(B)

# What the worker is made of, for the lint: a static binary hides its imports.
$(B)/worker.objs: Makefile
	@mkdir -p $(@D)
	@printf '%s\n' $(WORKER_OBJS:%=$(OBJ)/%) > $@

asan ubsan tsan:
	@+$(MAKE) --no-print-directory VARIANT=$@ unit

# FUZZ_SECONDS of each parser's target, two at a time.
FUZZ_SECONDS ?= 60
fuzz-smoke:
	@+$(MAKE) --no-print-directory VARIANT=fuzz fuzz-run
.PHONY: fuzz-run
fuzz-run: $(patsubst %,$(B)/fuzz/%,$(FUZZERS) $(FUZZ_ALARM))
	@sh tests/fuzz/run.sh $(B)/fuzz $(FUZZ_SECONDS) $(FUZZERS)

bench: programs-for-tests venv $(BENCH_PROGRAMS:%=$(B)/tests/%)
	@sh tests/bench/run.sh $(B)

demo: deps
	@+$(MAKE) --no-print-directory -j$$(nproc) all
	@sh tests/demo/demo.sh $(B)

# The jail on Debian 12's stock 6.1 kernel: a downloaded package, qemu in software emulation, from a disk image.
.PHONY: qemu-61
qemu-61: programs-for-tests
	@sh tests/deps.sh qemu-system-x86 e2fsprogs
	@$(PY) -B tests/jail/qemu/qemu_61.py $(B) build/qemu-61

.PHONY: format install dist clean help
format:
	clang-format -i $$(git ls-files '*.c' '*.h')

INSTALL_BIN := fumehood
INSTALL_LIBEXEC := fumehood-broker fumehood-jailer fumehood-auditor fumehood-worker fumehood-attack
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBEXEC) $(DESTDIR)$(PREFIX)/share/man/man1 \
	           $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(INSTALL_BIN:%=$(B)/bin/%) $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(INSTALL_LIBEXEC:%=$(B)/bin/%) $(DESTDIR)$(LIBEXEC)/
	install -m 644 docs/fumehood.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 docs/fumehood.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/fumehood

dist:
	@mkdir -p build
	git archive --format=tar.gz --prefix=fumehood-$(VERSION)/ -o build/fumehood-$(VERSION).tar.gz HEAD
	@echo "dist: build/fumehood-$(VERSION).tar.gz"

clean:
	rm -rf build/release build/asan build/ubsan build/tsan build/fuzz build/demo

help:
	@echo "make demo         set up, build, and show the whole path with real models (about 3 minutes)"
	@echo "make check        every test (at most 10 minutes on 2 cores)"
	@echo "make check-long   the same with long fuzzing, crash and soak runs"
	@echo "make bench        speed against ONNX Runtime, bwrap and bare fdatasync, in one run"
	@echo "make all          the programs, in build/release/bin"
	@echo "make deps         install the Debian packages that all of this needs"
	@echo "make lint         the tree's own rules"
	@echo "make asan ubsan tsan   unit tests under a sanitizer"
	@echo "make fuzz-smoke   FUZZ_SECONDS=60 of each parser's fuzz target"
	@echo "make qemu-61      the jail on Debian 12's stock 6.1 kernel under qemu (about 2 minutes)"
	@echo "make format install dist clean"
