// How the tables of kernels/cpu_kernels.h are filled: each part of each instruction set fills the
// entries it is responsible for. Call order in cpu_kernels.cpp: scalar first, then the better set
// over it, so that what a set leaves alone stays the simpler kernel with its origin.
#pragma once

#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

// matmul, matmul_origin, dequantize, quantize: kernels/cpu/<set>/matmul*.cpp
void fill_matmul_scalar(CpuKernels& table);
void fill_matmul_avx2(CpuKernels& table);
void fill_matmul_avx512(CpuKernels& table);
// matmul of the formats with code books, where gathers_are_fast()
void fill_gathers_avx512(CpuKernels& table);

// attend, merge_attention, finish_attention: kernels/cpu/<set>/attention.cpp
void fill_attention_scalar(CpuKernels& table);
void fill_attention_avx2(CpuKernels& table);
void fill_attention_avx512(CpuKernels& table);

// convolve, update_delta, l2_norm: kernels/cpu/<set>/delta_net.cpp
void fill_delta_net_scalar(CpuKernels& table);
void fill_delta_net_avx2(CpuKernels& table);
void fill_delta_net_avx512(CpuKernels& table);

// Everything else: kernels/cpu/<set>/vector.cpp, one source compiled for each set.
void fill_vector_scalar(CpuKernels& table);
void fill_vector_avx2(CpuKernels& table);
void fill_vector_avx512(CpuKernels& table);

}  // namespace hearth::kernels
