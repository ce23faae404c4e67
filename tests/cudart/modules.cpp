#include "tests/cudart/modules.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <map>
#include <stdexcept>

#include "tests/cudart/exit_report.h"
#include "tests/cudart/memory.h"

namespace hearth::cudart {
namespace {

// Of fatbinary_section.h and fatBinaryCtl.h, which the toolkit has in part.
struct Wrapper {
  std::uint32_t magic, version;
  const std::byte* data;
  const void* unused;
};
struct Header {
  std::uint32_t magic;
  std::uint16_t version, header_bytes;
  std::uint64_t bytes;
};
struct Entry {
  std::uint16_t kind, version;
  std::uint32_t header_bytes;
  std::uint64_t bytes;
  std::uint32_t compressed_bytes;
};
constexpr std::uint32_t kWrapperMagic = 0x466243b1, kHeaderMagic = 0xba55ed50;
constexpr std::uint16_t kPtx = 1;

template <typename T>
T read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

struct Registered {
  std::mutex mutex;
  std::map<const void*, std::unique_ptr<RegisteredKernel>> kernels;
};
Registered& registered() {
  static Registered* const all = new Registered;
  return *all;
}

}  // namespace

std::string_view ptx_of(const void* fat_binary) {
  const auto wrapper = read<Wrapper>(static_cast<const std::byte*>(fat_binary));
  if (wrapper.magic != kWrapperMagic) throw std::runtime_error("not a fat binary");
  const auto header = read<Header>(wrapper.data);
  if (header.magic != kHeaderMagic) throw std::runtime_error("not the contents of a fat binary");
  const std::byte* at = wrapper.data + header.header_bytes;
  const std::byte* const end = at + header.bytes;
  while (at < end) {
    const auto entry = read<Entry>(at);
    const char* const text = reinterpret_cast<const char*>(at + entry.header_bytes);
    if (entry.kind == kPtx) {
      if (entry.compressed_bytes != 0)
        throw std::runtime_error("compressed PTX: compile with --no-compress");
      return {text, strnlen(text, entry.bytes)};
    }
    at += entry.header_bytes + entry.bytes;
  }
  throw std::runtime_error("a fat binary without PTX: compile for code=compute_90");
}

const ptx::Module* LoadedModule::load() {
  const std::lock_guard lock(mutex_);
  if (module_ != nullptr) return module_.get();
  const std::string_view text = ptx_of(fat_binary_);
  if (!memory().take(Bytes(text.size()))) return nullptr;
  module_ = ptx::Module::parse(text);
  return module_.get();
}

RegisteredKernel* find_kernel(const void* stub) {
  const std::lock_guard lock(registered().mutex);
  const auto found = registered().kernels.find(stub);
  return found == registered().kernels.end() ? nullptr : found->second.get();
}

}  // namespace hearth::cudart

using namespace hearth::cudart;

// What the code calls that nvcc adds to each source (crt/host_runtime.h).
extern "C" {

void** __cudaRegisterFatBinary(void* fat_binary) {
  report_at_exit();
  return reinterpret_cast<void**>(new LoadedModule(fat_binary));
}

void __cudaRegisterFatBinaryEnd(void**) {}

// Other objects of the program may still launch: what was loaded stays.
void __cudaUnregisterFatBinary(void**) {}

void __cudaRegisterFunction(void** module, const char* stub, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  const std::lock_guard lock(registered().mutex);
  auto kernel = std::make_unique<RegisteredKernel>();
  kernel->module = reinterpret_cast<LoadedModule*>(module);
  kernel->name = name;
  registered().kernels[stub] = std::move(kernel);
}

// Variables are for kernels alone: no function here takes one.
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}

}  // extern "C"
