/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types: one table, in ONNX's numbering (TensorProto.DataType).
 *
 * Side: inside. Trusts: nothing (any number may be asked about). Owns: the table.
 */
#include "sandbox/inside/engine/engine.h"

static const struct {
	const char *name;
	uint8_t bytes;
} types[DT__MAX] = {
	[DT_F32] = { "float32", 4 }, [DT_U8] = { "uint8", 1 },    [DT_I8] = { "int8", 1 },
	[DT_U16] = { "uint16", 2 },  [DT_I16] = { "int16", 2 },   [DT_I32] = { "int32", 4 },
	[DT_I64] = { "int64", 8 },   [DT_STRING] = { "string", 0 }, [DT_BOOL] = { "bool", 1 },
	[DT_F16] = { "float16", 2 }, [DT_F64] = { "float64", 8 }, [DT_U32] = { "uint32", 4 },
	[DT_U64] = { "uint64", 8 },  [14] = { "complex64", 0 },   [15] = { "complex128", 0 },
	[DT_BF16] = { "bfloat16", 2 },
};

size_t dtype_bytes(int dt)
{
	return dt > 0 && dt < DT__MAX ? types[dt].bytes : 0;
}

const char *dtype_name(int dt)
{
	return dt > 0 && dt < DT__MAX && types[dt].name ? types[dt].name : "unknown";
}
