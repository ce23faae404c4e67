// The kernels of this program: nvcc's fat binaries, which register themselves when it starts. Each
// is parsed when one of its kernels is first launched, as drivers load them.
#pragma once

#include <driver_types.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/ptx/interpreter.h"

namespace hearth::cudart {

// The PTX in a fat binary; throws where it has none that is not compressed.
std::string_view ptx_of(const void* fat_binary);

class LoadedModule {
 public:
  explicit LoadedModule(const void* fat_binary) : fat_binary_(fat_binary) {}

  // Null: no room on the device. Throws what is wrong with the fat binary.
  const ptx::Module* load();

 private:
  const void* fat_binary_;
  std::mutex mutex_;
  std::unique_ptr<ptx::Module> module_;
};

// A kernel as host code names it.
struct RegisteredKernel {
  LoadedModule* module;
  std::string name;
  unsigned most_dynamic_shared = 48 << 10;  // cudaFuncAttributeMaxDynamicSharedMemorySize
};

// By the address of its stub; null where it was not registered.
RegisteredKernel* find_kernel(const void* stub);

}  // namespace hearth::cudart
