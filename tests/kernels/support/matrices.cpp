#include "tests/kernels/support/matrices.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/check.h"
#include "kernels/cpu/fill.h"
#include "tests/kernels/support/plain_decoder.h"

namespace hearth::kernels {
namespace {

std::uint16_t f16_scale(Blocks blocks, Random& random) {
  if (blocks == Blocks::kExtreme) {
    constexpr std::uint16_t kEdges[] = {0x0000, 0x8000, 0x0001, 0x83ff, 0x7bff, 0xfbff, 0xbc00};
    return kEdges[random.below(std::size(kEdges))];
  }
  if (blocks == Blocks::kSpecial && random.below(16) == 0) {
    constexpr std::uint16_t kNotFinite[] = {0x7c00, 0xfc00, 0x7e00};
    return kNotFinite[random.below(std::size(kNotFinite))];
  }
  // Both signs, magnitudes 2^-10 to 2^-2.
  return static_cast<std::uint16_t>((random.below(2) << 15) | ((5 + random.below(8)) << 10) |
                                    random.below(1024));
}

void fill_bytes(std::byte* block, std::size_t bytes, Blocks blocks, Random& random) {
  if (blocks == Blocks::kExtreme && random.below(4) != 0) {
    std::memset(block, random.below(2) != 0 ? 0xff : 0, bytes);
    return;
  }
  for (std::size_t i = 0; i < bytes; ++i) block[i] = static_cast<std::byte>(random.below(256));
}

void fill_block(WeightFormat format, std::byte* block, Blocks blocks, Random& random) {
  fill_bytes(block, traits(format).bytes_per_block, blocks, random);
  write_scales(format, block, [&] { return f16_scale(blocks, random); });
  if (format == WeightFormat::kMXFP4 && blocks != Blocks::kExtreme)
    block[0] = static_cast<std::byte>(120 + random.below(8));
  if (format == WeightFormat::kF32 || format == WeightFormat::kBF16) {
    const float value = static_cast<float>(random.normal());
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    const bool short_form = format == WeightFormat::kBF16;
    std::memcpy(block, bytes + (short_form ? 2 : 0), short_form ? 2 : 4);
  }
}

CpuKernels empty_table(std::string_view name) {
  CpuKernels table{};
  table.name = name;
  return table;
}

}  // namespace

const std::vector<CpuKernels>& matmul_tables() {
  static const std::vector<CpuKernels> tables = [] {
    std::vector<CpuKernels> filled{empty_table("scalar")};
    fill_matmul_scalar(filled.back());
#ifndef HEARTH_SCALAR_ONLY
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      filled.push_back(filled.back());
      filled.back().name = "avx2";
      fill_matmul_avx2(filled.back());
    }
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")) {
      filled.push_back(filled.back());
      filled.back().name = "avx512";
      fill_matmul_avx512(filled.back());
      filled.push_back(filled.back());
      filled.back().name = "avx512, gathers";
      fill_gathers_avx512(filled.back());
    }
#endif
    return filled;
  }();
  return tables;
}

GuardedMatrix::GuardedMatrix(WeightFormat format, std::uint32_t rows, std::uint32_t columns,
                             Blocks blocks, Random& random)
    : matrix_{format, rows, columns, nullptr} {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t data_bytes = (matrix_.bytes() + page - 1) / page * page;
  mapped_ = data_bytes + page;
  void* mapping =
      mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mapping != MAP_FAILED);
  mapping_ = static_cast<std::byte*>(mapping);
  CHECK_EQ(mprotect(mapping_ + data_bytes, page, PROT_NONE), 0);

  std::byte* data = mapping_ + data_bytes - matrix_.bytes();
  for (std::size_t at = 0; at < matrix_.bytes(); at += traits(format).bytes_per_block)
    fill_block(format, data + at, blocks, random);
  matrix_.data = data;
}

GuardedMatrix::~GuardedMatrix() { munmap(mapping_, mapped_); }

TestActivations::TestActivations(std::uint32_t rows, std::uint32_t columns, Random& random)
    : memory_(ActivationBuffer::bytes_needed(rows, columns).count + 64) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
  std::byte* aligned = memory_.data() + (64 - address % 64) % 64;
  buffer_ = ActivationBuffer({aligned, memory_.size() - 64}, rows, columns);
  buffer_.set_shape(rows, columns);
  for (std::uint32_t t = 0; t < rows; ++t) {
    float* x = buffer_.values(t);
    for (std::uint32_t i = 0; i < columns; ++i)
      x[i] = static_cast<float>(random.normal() * (random.below(64) == 0 ? 50 : 1));
    matmul_tables()[0].quantize(x, columns, buffer_.codes(t), buffer_.scales(t), buffer_.sums(t));
  }
}

}  // namespace hearth::kernels
