/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernels use of a GPU beyond plain C++: each in one small function. With PROBE_EMULATE the
 * tests run the kernels on the CPU, lane by lane (tests/unit/lane_emulator.h). bf16 is handled as its 16
 * bits. */
#ifndef STEELYARD_PROBE_LANE_CUH
#define STEELYARD_PROBE_LANE_CUH

#include <stdint.h>

typedef uint16_t bf16;

#ifdef PROBE_EMULATE
#include "tests/unit/lane_emulator.h"
#else

#include <cuda_runtime.h>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "the probe needs compute capability 8.0 or later: nvcc -arch=native with a GPU, else -arch=sm_80, sm_90 ..."
#endif

/* A kernel that is no template and lives in a header. */
#define KERNEL static __attribute__((unused)) __global__

/* Dynamic shared memory of the block, 16-byte aligned. */
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) char name[]

__device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes from global to shared memory, asynchronously; zeros when !valid (the address is not read). */
__device__ __forceinline__ void copy_async16(void *to_shared, const void *from, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to_shared)),
                 "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void copy_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* All but the last LEFT committed groups of this thread have arrived. */
template <int LEFT>
__device__ __forceinline__ void copy_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

/* Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8 and gets of
 * each matrix row l / 4, columns 2 * (l % 4) and the next; TRANS: of the transposed matrix. */
template <bool TRANS>
__device__ __forceinline__ void load_matrix4(uint32_t r[4], const void *shared_row)
{
    uint32_t a = shared_address(shared_row);

    if (TRANS) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(a)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(a)
                     : "memory");
    }
}

/* c[16x8] += a[16x16] b[16x8], bf16 in, fp32 out; fragments as in the PTX manual, mma.m16n8k16. */
__device__ __forceinline__ void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Two numbers, rounded to nearest even, `low` in the low half. */
__device__ __forceinline__ uint32_t pack_bf16(float low, float high)
{
    uint32_t r;

    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

__device__ __forceinline__ float lane_xor(float v, int mask)
{
    return __shfl_xor_sync(0xffffffffu, v, mask);
}

__device__ __forceinline__ int lane_xor(int v, int mask)
{
    return __shfl_xor_sync(0xffffffffu, v, mask);
}

__device__ __forceinline__ float fast_exp2(float v)
{
    return exp2f(v);
}
#endif

__device__ __forceinline__ float bf16_value(bf16 v)
{
    union {
        uint32_t u;
        float f;
    } x;

    x.u = (uint32_t)v << 16;
    return x.f;
}

__device__ __forceinline__ bf16 bf16_of(float v)
{
    return (bf16)pack_bf16(v, 0.0f);
}

__device__ __forceinline__ float low_value(uint32_t v)
{
    return bf16_value((bf16)(v & 0xffff));
}

__device__ __forceinline__ float high_value(uint32_t v)
{
    return bf16_value((bf16)(v >> 16));
}

#endif
