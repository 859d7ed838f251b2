// What Verilator's FST writer calls of LZ4. Its library is on nearly every Linux system, its header is not.

#pragma once

extern "C" {
int LZ4_compressBound(int size);
int LZ4_compress_default(const char *in, char *out, int size, int out_size);
}
