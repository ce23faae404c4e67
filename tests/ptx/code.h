// A kernel as it is run. Registers are rows of 32 lanes; so are immediates and addresses of
// variables, which lie in rows of constants. An operand is the offset of its row, with kConstant
// set for one of the constants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/ptx/interpreter.h"

namespace hearth::ptx {

constexpr unsigned kLanes = 32;
constexpr std::uint32_t kAllLanes = ~0u;
constexpr std::uint32_t kConstant = 1u << 31;

// Where shared memory lies among generic addresses: where no memory of the host does.
constexpr std::uint64_t kSharedWindow = 1ull << 60;
constexpr std::uint64_t kWindowBytes = 1ull << 32;

// A lane of a predicate. All bits are equal, so that rows of them are masks for vectors.
enum class Flag : std::uint32_t { kFalse = 0, kTrue = ~0u };

class Warp;
struct Instruction;
using Execute = void (*)(Warp&, const Instruction&);

enum class Space : std::uint8_t { kGeneric, kGlobal, kShared, kParam };
enum class Scope : std::uint8_t { kBlock, kDevice, kSystem };  // .cta, .gpu, .sys

// Of an instruction that accesses memory. Its address is the last operand.
struct Access {
  Space space = Space::kGeneric;
  std::uint8_t address_bytes = 8;
  std::uint8_t values = 0;  // registers besides the address
  std::uint8_t outputs = 0;
  bool read_only = false;  // .nc: of memory that nobody writes meanwhile
  bool prefetches = false;
  bool acquires = false;
  bool releases = false;
  Scope scope = Scope::kSystem;  // of one that is not weak
};

struct Instruction {
  Execute execute;
  const std::uint32_t* operands;
  std::int64_t immediate;  // what is added to an address; the target of a branch
  Access access;
};

// The rows that a warp finds filled.
enum Special : std::uint32_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneid,
  kWarpid,
  kSpecials
};
constexpr std::size_t kSpecialBytes = kLanes * sizeof(std::uint32_t);

class Kernel {
 public:
  std::string name;
  KernelFacts facts;
  std::vector<Instruction> code;
  std::vector<unsigned> lines;          // of each instruction
  std::vector<std::uint32_t> operands;  // of all instructions
  std::vector<std::byte> constants;
  std::size_t register_bytes = 0;  // of a warp
  unsigned dynamic_shared = 0;     // where it begins
  bool reads_read_only = false;    // has such an instruction
  bool waits = false;              // likewise griddepcontrol.wait
  std::vector<Range> variables;    // of the module
};

}  // namespace hearth::ptx
