// What Verilator's FST writer calls of zlib. Its library is on every Linux system, its header is not.

#pragma once

extern "C" {
typedef unsigned char Bytef;
typedef unsigned long uLong;
typedef uLong uLongf;
enum { Z_OK = 0 };
uLong compressBound(uLong size);
int compress2(Bytef *out, uLongf *out_size, const Bytef *in, uLong size, int level);
}
