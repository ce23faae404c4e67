#include <algorithm>
#include <map>

#include "tests/ptx/lower.h"
#include "tests/ptx/operations.h"

namespace hearth::ptx {
namespace {

constexpr std::size_t round_up(std::size_t at, std::size_t alignment) {
  return (at + alignment - 1) / alignment * alignment;
}

// The memory of a module's variables.
class Variables {
 public:
  explicit Variables(const std::vector<Variable>& variables) {
    for (const Variable& variable : variables) {
      auto& memory = memory_[std::string(variable.name)];
      memory.words.resize(variable.bytes / sizeof(Word) + 1);
      memory.bytes = {reinterpret_cast<std::byte*>(memory.words.data()), variable.bytes};
      std::ranges::copy(variable.contents, memory.bytes.begin());
    }
  }
  std::span<std::byte> find(std::string_view name) const {
    const auto found = memory_.find(name);
    return found == memory_.end() ? std::span<std::byte>() : found->second.bytes;
  }
  template <typename F>
  void each(F f) const {
    for (const auto& [name, memory] : memory_) f(name, memory.bytes);
  }

 private:
  struct alignas(64) Word {
    std::byte bytes[64];
  };
  struct Memory {
    std::vector<Word> words;
    std::span<std::byte> bytes;
  };
  std::map<std::string, Memory, std::less<>> memory_;
};

// Places parameters and shared variables one behind the other.
std::uint64_t place(const Variable& variable, std::size_t& end) {
  const std::size_t at = round_up(end, variable.alignment);
  end = at + variable.bytes;
  return at;
}

Kernel assemble(const Source& source, const Function& function, const Variables& variables) {
  Kernel kernel;
  kernel.name = function.name;
  Addresses addresses;
  variables.each([&](std::string_view name, std::span<std::byte> memory) {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
    addresses.variables[name] = begin;
    kernel.variables.push_back({begin, begin + memory.size(), true});
  });
  std::size_t end = 0;
  for (const Variable& parameter : function.parameters) {
    const std::uint64_t at = place(parameter, end);
    addresses.variables[parameter.name] = at;
    kernel.facts.parameters.push_back({at, parameter.bytes});
  }
  kernel.facts.parameter_bytes = end;
  end = 0;
  for (const Variable& shared : function.shared)
    addresses.variables[shared.name] = place(shared, end);
  kernel.facts.static_shared = static_cast<unsigned>(end);
  for (const Variable& dynamic : source.shared) end = round_up(end, dynamic.alignment);
  for (const Variable& dynamic : source.shared) addresses.variables[dynamic.name] = end;
  kernel.dynamic_shared = static_cast<unsigned>(end);
  kernel.facts.max_threads = function.max_threads;

  const std::vector<Lowered> code = lower(function, addresses, kernel);
  const std::vector<std::uint32_t> places = place_registers(function, code, kernel);
  for (const Lowered& each : code)
    for (const Slot& slot : each.slots)
      kernel.operands.push_back(slot.is_register ? places[slot.value] : slot.value);
  const Execute wait = forms().find("griddepcontrol.wait")->second.execute;
  const std::uint32_t* operands = kernel.operands.data();
  for (const Lowered& each : code) {
    kernel.code.push_back({each.execute, operands, each.immediate, each.access});
    kernel.lines.push_back(each.line);
    kernel.reads_read_only |= each.access.read_only;
    kernel.waits |= each.execute == wait;
    operands += each.slots.size();
  }
  return kernel;
}

class ParsedModule final : public Module {
 public:
  explicit ParsedModule(const Source& source) : variables_(source.globals) {
    for (const Function& function : source.entries)
      kernels_.emplace(std::string(function.name), assemble(source, function, variables_));
  }
  const Kernel* find(std::string_view name) const override {
    const auto found = kernels_.find(name);
    return found == kernels_.end() ? nullptr : &found->second;
  }
  std::span<std::byte> variable(std::string_view name) const override {
    return variables_.find(name);
  }

 private:
  Variables variables_;
  std::map<std::string, Kernel, std::less<>> kernels_;
};

}  // namespace

std::unique_ptr<Module> Module::parse(std::string_view text) {
  return std::make_unique<ParsedModule>(read_source(text));
}

const KernelFacts& facts(const Kernel& kernel) { return kernel.facts; }

}  // namespace hearth::ptx
