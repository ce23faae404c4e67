#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

// Sets HEARTH_CPU, and puts the former value back at the end of the test.
class HearthCpu {
 public:
  explicit HearthCpu(const char* value) {
    if (const char* const former = std::getenv(kName)) former_ = former;
    value != nullptr ? setenv(kName, value, 1) : unsetenv(kName);
  }
  ~HearthCpu() { former_ ? setenv(kName, former_->c_str(), 1) : unsetenv(kName); }

 private:
  static constexpr const char* kName = "HEARTH_CPU";
  std::optional<std::string> former_;
};

ErrorCode error_of_best() {
  try {
    best_instruction_set();
  } catch (const Error& error) {
    EXPECT_NE(std::string_view(error.what()).find("HEARTH_CPU"), std::string_view::npos);
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kIo;
}

constexpr InstructionSet kSets[] = {InstructionSet::kScalar, InstructionSet::kAvx2,
                                    InstructionSet::kAvx512};

TEST(InstructionSets, NamesAreParsedBack) {
  for (const InstructionSet set : kSets) EXPECT_EQ(parse_instruction_set(name_of(set)), set);
  for (const char* bad : {"", "AVX2", "avx", "avx5120"}) EXPECT_FALSE(parse_instruction_set(bad));
}

TEST(InstructionSets, TheEnvironmentChoosesAmongTheSupported) {
  for (const InstructionSet set : kSets) {
    const HearthCpu wanted(std::string(name_of(set)).c_str());
    if (supported(set)) {
      EXPECT_EQ(best_instruction_set(), set);
    } else {
      EXPECT_EQ(error_of_best(), ErrorCode::kUnsupported);
    }
  }
}

TEST(InstructionSets, AnUnknownNameIsAnError) {
  for (const char* bad : {"", "sse2", "AVX2"}) {
    const HearthCpu wanted(bad);
    EXPECT_EQ(error_of_best(), ErrorCode::kUsage);
  }
}

TEST(InstructionSets, WithoutTheVariableTheLastSupportedIsBest) {
  const HearthCpu unset(nullptr);
  const InstructionSet best = best_instruction_set();
  for (const InstructionSet set : kSets) EXPECT_EQ(supported(set), set <= best);
}

TEST(CpuKernels, EverySupportedTableIsFull) {
  for (const CpuKernels& table : all_tables()) {
    for (const WeightFormatTraits& format : kWeightFormats) {
      const auto i = static_cast<std::size_t>(format.format);
      EXPECT_NE(table.matmul[i], nullptr) << table.name << ' ' << format.name;
      EXPECT_NE(table.dequantize[i], nullptr) << table.name << ' ' << format.name;
      EXPECT_TRUE(parse_instruction_set(table.matmul_origin[i])) << table.matmul_origin[i];
    }
    EXPECT_TRUE(table.quantize && table.rms_norm && table.rope_halves && table.rope_pairs &&
                table.silu_multiply && table.gelu_multiply && table.clamped_multiply &&
                table.sigmoid && table.softcap && table.softmax && table.add && table.scale &&
                table.add_scaled && table.attend && table.merge_attention &&
                table.finish_attention && table.rotate && table.all_finite)
        << table.name;
  }
}

TEST(CpuKernels, ATableIsBuiltOnceAlsoByManyThreads) {
  std::vector<const CpuKernels*> seen(8);
  std::vector<std::thread> threads;
  for (const CpuKernels*& table : seen)
    threads.emplace_back([&table] { table = &cpu_kernels(best_instruction_set()); });
  for (std::thread& thread : threads) thread.join();
  for (const CpuKernels* const table : seen) EXPECT_EQ(table, seen[0]);
  EXPECT_EQ(seen[0]->name, name_of(best_instruction_set()));
}

}  // namespace
}  // namespace hearth::kernels
