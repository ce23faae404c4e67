// Loads, stores, atomics and prefetches. Each lane's address is checked: in memory of the space
// that the instruction names, and a multiple of all that it accesses.
#include <atomic>

#include "tests/ptx/lanes.h"

namespace hearth::ptx {
namespace {

// Where lanes access memory. Those that do not have the address of one that does.
using Places = std::byte* [kLanes];

// What lanes bring to weak memory, or have of it.
using Carried = std::byte[kLanes][32];

std::string hexadecimal(std::uint64_t x) {
  std::string digits;
  do digits.insert(digits.begin(), "0123456789abcdef"[x % 16]);
  while (x /= 16);
  return "0x" + digits;
}

const char* name(Space space) {
  switch (space) {
    case Space::kGeneric:
      return "generic";
    case Space::kGlobal:
      return "global";
    case Space::kShared:
      return "shared";
    case Space::kParam:
      return "parameter";
  }
  return "";
}

[[noreturn]] void out_of_bounds(const Warp& warp, unsigned lane, Space space, std::uint64_t address,
                                std::size_t bytes, bool write) {
  warp.fail(lane, std::string(write ? "writes " : "reads ") + std::to_string(bytes) +
                      " bytes outside of " + name(space) + " memory at " + hexadecimal(address));
}

void check_alignment(const Warp& warp, const std::uint64_t (&addresses)[kLanes],
                     std::size_t bytes) {
  std::uint64_t any = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) any |= addresses[lane];
  if ((any & (bytes - 1)) == 0) return;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (warp.mask() >> lane & 1 && addresses[lane] & (bytes - 1))
      warp.fail(lane, "accesses " + std::to_string(bytes) + " bytes at " +
                          hexadecimal(addresses[lane]) + ", which is no multiple of that");
}

// In a stretch of its own that begins at 0.
void place_in(Warp& warp, Space space, std::byte* memory, std::size_t size,
              const std::uint64_t (&addresses)[kLanes], std::size_t bytes, bool write,
              Places& places) {
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (addresses[lane] > size || bytes > size - addresses[lane])
      out_of_bounds(warp, lane, space, addresses[lane], bytes, write);
  for (unsigned lane = 0; lane < kLanes; ++lane) places[lane] = memory + addresses[lane];
}

void place_in_global(Warp& warp, Space space, const std::uint64_t (&addresses)[kLanes],
                     std::size_t bytes, bool write, Places& places) {
  Reach& reach = warp.launch().reach;
  const Range& likely = reach.likely(warp.pc());
  const std::uint64_t size = likely.end - likely.begin;
  bool elsewhere = size < bytes || (write && !likely.writable);
  for (unsigned lane = 0; lane < kLanes; ++lane)
    elsewhere |= addresses[lane] - likely.begin > size - bytes;
  for (unsigned lane = 0; elsewhere && lane < kLanes; ++lane)
    if (!reach.has(warp.pc(), addresses[lane], bytes, write))
      out_of_bounds(warp, lane, space, addresses[lane], bytes, write);
  for (unsigned lane = 0; lane < kLanes; ++lane) places[lane] = reach.place(addresses[lane]);
}

void watch_written(Warp& warp, const Access& access, const std::uint64_t (&addresses)[kLanes],
                   std::size_t bytes, bool write) {
  Written& written = warp.launch().written;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (write)
      written.add(addresses[lane], bytes);
    else if (access.read_only && written.has(addresses[lane], bytes))
      warp.fail(
          warp.mask() >> lane & 1 ? lane : warp.first_lane(),
          "ld.global.nc at " + hexadecimal(addresses[lane]) + ", where the launch has written");
  }
}

// Returns the multiprocessor whose copies of that memory count, if any.
Multiprocessor* find_places(Warp& warp, const Instruction& instruction, std::size_t bytes,
                            bool write, Places& places) {
  const Access& access = instruction.access;
  const std::uint32_t operand = instruction.operands[access.values];
  std::uint64_t addresses[kLanes];
  if (access.address_bytes == 4) {
    const auto* row = warp.row<std::uint32_t>(operand);
    for (unsigned lane = 0; lane < kLanes; ++lane)
      addresses[lane] = row[lane] + static_cast<std::uint32_t>(instruction.immediate);
  } else {
    const auto* row = warp.row<std::uint64_t>(operand);
    for (unsigned lane = 0; lane < kLanes; ++lane)
      addresses[lane] = row[lane] + static_cast<std::uint64_t>(instruction.immediate);
  }
  const std::uint64_t first = addresses[warp.first_lane()];
  if (warp.mask() != kAllLanes)
    for (unsigned lane = 0; lane < kLanes; ++lane)
      addresses[lane] = warp.mask() >> lane & 1 ? addresses[lane] : first;
  check_alignment(warp, addresses, bytes);
  std::vector<std::byte>& shared = warp.block().shared;
  const auto parameters = warp.launch().parameters;
  switch (access.space) {
    case Space::kShared:
      place_in(warp, access.space, shared.data(), shared.size(), addresses, bytes, write, places);
      return nullptr;
    case Space::kParam:  // which nothing writes
      place_in(warp, access.space, const_cast<std::byte*>(parameters.data()), parameters.size(),
               addresses, bytes, write, places);
      return nullptr;
    case Space::kGeneric:
      if (first - kSharedWindow >= kWindowBytes) break;
      for (std::uint64_t& address : addresses) address -= kSharedWindow;
      place_in(warp, access.space, shared.data(), shared.size(), addresses, bytes, write, places);
      return nullptr;
    case Space::kGlobal:
      break;
  }
  if (!access.prefetches) warp.require_waited("accesses global memory");
  place_in_global(warp, access.space, addresses, bytes, write, places);
  if (warp.launch().kernel.reads_read_only) watch_written(warp, access, addresses, bytes, write);
  return warp.block().copies;
}

template <typename T>
std::atomic_ref<T> atomic_at(std::byte* at) {
  return std::atomic_ref<T>(*reinterpret_cast<T*>(at));
}

// A load into a wider register extends by T's sign.
template <typename T, typename Register>
void load(Warp& warp, const Instruction& instruction) {
  const Access& access = instruction.access;
  const std::size_t bytes = access.values * sizeof(T);
  Places places;
  Carried carried;
  if (Multiprocessor* const copies = find_places(warp, instruction, bytes, false, places))
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (warp.mask() >> lane & 1)
        copies->load(places[lane], bytes, access.read_only, carried[lane]);
      places[lane] = carried[lane];
    }
  for (unsigned i = 0; i < access.values; ++i) {
    Register values[kLanes];
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      T value;
      std::memcpy(&value, places[lane] + i * sizeof(T), sizeof value);
      values[lane] = static_cast<Register>(value);
    }
    warp.store(instruction.operands[i], values);
  }
}

// Strong accesses of the active lanes, one after the other, to what threads of a scope share.
template <typename F>
void access_in_order(Warp& warp, const Instruction& instruction, std::size_t bytes, bool write,
                     Scope shared, F f) {
  const Access& access = instruction.access;
  Places places;
  Multiprocessor* const copies = find_places(warp, instruction, bytes, write, places);
  if (copies != nullptr && access.releases) copies->release(access.scope);
  const unsigned first = warp.launch().noise.below(kLanes);  // nobody knows which lane it is
  for (unsigned i = 0; i < kLanes; ++i) {
    const unsigned lane = (first + i) % kLanes;
    if (!(warp.mask() >> lane & 1)) continue;
    std::byte* const at = places[lane];
    f(lane, copies == nullptr ? at : copies->strong(at, bytes, write, shared));
  }
  if (copies != nullptr && access.acquires) copies->acquire(access.scope);
}

// .volatile, .relaxed and .acquire, of which the last is the strongest.
template <typename T, typename Register>
void load_in_order(Warp& warp, const Instruction& instruction) {
  Register values[kLanes] = {};
  const Scope scope = instruction.access.scope;
  access_in_order(warp, instruction, sizeof(T), false, scope, [&](unsigned lane, std::byte* at) {
    values[lane] = static_cast<Register>(atomic_at<T>(at).load(std::memory_order_acquire));
  });
  warp.store(instruction.operands[0], values);
  warp.may_be_waiting();
}

template <typename T, typename Register>
void store(Warp& warp, const Instruction& instruction) {
  const std::size_t bytes = instruction.access.values * sizeof(T);
  Places places, memory;
  Carried carried;
  Multiprocessor* const copies = find_places(warp, instruction, bytes, true, memory);
  for (unsigned lane = 0; lane < kLanes; ++lane)
    places[lane] = copies == nullptr ? memory[lane] : carried[lane];
  for (unsigned i = 0; i < instruction.access.values; ++i) {
    const Register* from = warp.row<Register>(instruction.operands[i]);
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (!(warp.mask() >> lane & 1)) continue;
      const T value = static_cast<T>(from[lane]);
      std::memcpy(places[lane] + i * sizeof(T), &value, sizeof value);
    }
  }
  for (unsigned lane = 0; copies != nullptr && lane < kLanes; ++lane)
    if (warp.mask() >> lane & 1) copies->store(memory[lane], bytes, carried[lane]);
}

template <typename T, typename Register>
void store_in_order(Warp& warp, const Instruction& instruction) {
  const Register* from = warp.row<Register>(instruction.operands[0]);
  const Scope scope = instruction.access.scope;
  access_in_order(warp, instruction, sizeof(T), true, scope, [&](unsigned lane, std::byte* at) {
    atomic_at<T>(at).store(static_cast<T>(from[lane]), std::memory_order_release);
  });
}

void prefetch(Warp& warp, const Instruction& instruction) {
  Places places;
  find_places(warp, instruction, 1, false, places);
}

// An atomic's second operand, third operand and what was there, to what will be.
template <typename T, typename F>
void change(Warp& warp, const Instruction& instruction) {
  const Access& access = instruction.access;
  const T* b = warp.row<T>(instruction.operands[access.outputs]);
  const T* c = warp.row<T>(instruction.operands[access.values - 1]);
  T before[kLanes] = {};
  const auto of_lane = [&](unsigned lane, std::byte* memory) {
    const auto at = atomic_at<T>(memory);
    before[lane] = at.load();
    while (!at.compare_exchange_weak(before[lane], F{}(before[lane], b[lane], c[lane]))) {
    }
  };
  access_in_order(warp, instruction, sizeof(T), true, Scope::kSystem, of_lane);
  if (access.outputs == 1) warp.store(instruction.operands[0], before);
  warp.may_be_waiting();
}

// ---- From opcodes to the functions above

// The words of an opcode, one after the other.
class Words {
 public:
  explicit Words(std::string_view opcode) : rest_(opcode) {}
  std::string_view take() {
    const std::size_t end = std::min(rest_.find('.'), rest_.size());
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return word;
  }
  bool take_if(std::string_view word) {
    Words ahead = *this;
    if (ahead.take() != word) return false;
    *this = ahead;
    return true;
  }
  bool take_one_of(std::initializer_list<const char*> words) {
    for (const char* word : words)
      if (take_if(word)) return true;
    return false;
  }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

Space take_space(Words& words) {
  if (words.take_if("global")) return Space::kGlobal;
  if (words.take_one_of({"shared", "shared::cta"})) return Space::kShared;
  return words.take_if("param") ? Space::kParam : Space::kGeneric;
}

template <typename T, typename Register>
Execute access_of(bool stores, bool in_order) {
  if (stores) return in_order ? &store_in_order<T, Register> : &store<T, Register>;
  return in_order ? &load_in_order<T, Register> : &load<T, Register>;
}

template <typename T>
Execute access_of(std::uint8_t register_bytes, bool stores, bool in_order) {
  if constexpr (sizeof(T) <= 2)
    if (register_bytes == 2) return access_of<T, std::uint16_t>(stores, in_order);
  if constexpr (sizeof(T) <= 4)
    if (register_bytes == 4) return access_of<T, std::uint32_t>(stores, in_order);
  return register_bytes == 8 ? access_of<T, std::uint64_t>(stores, in_order) : nullptr;
}

Execute access_of(std::string_view type, std::uint8_t bytes, bool stores, bool in_order) {
  if (type == "s8" && !stores) return access_of<std::int8_t>(bytes, stores, in_order);
  if (type == "s16" && !stores) return access_of<std::int16_t>(bytes, stores, in_order);
  if (type == "s32" && !stores) return access_of<std::int32_t>(bytes, stores, in_order);
  if (type == "f32")
    return bytes == 4 ? access_of<std::uint32_t>(bytes, stores, in_order) : nullptr;
  if (type.size() < 2 || std::string_view("bsuf").find(type[0]) == type.npos) return nullptr;
  type.remove_prefix(1);
  if (type == "8") return access_of<std::uint8_t>(bytes, stores, in_order);
  if (type == "16") return access_of<std::uint16_t>(bytes, stores, in_order);
  if (type == "32") return access_of<std::uint32_t>(bytes, stores, in_order);
  return type == "64" ? access_of<std::uint64_t>(bytes, stores, in_order) : nullptr;
}

// Whether there was one of the words that are allowed.
bool take_order(Words& words, bool may_release, bool may_acquire, Access& access) {
  const bool both = may_release && may_acquire && words.take_if("acq_rel");
  access.releases = both || (may_release && words.take_if("release"));
  access.acquires = both || (may_acquire && !access.releases && words.take_if("acquire"));
  return access.releases || access.acquires;
}

bool take_scope(Words& words, Scope& scope) {
  for (const auto& [word, named] :
       {std::pair("cta", Scope::kBlock), std::pair("gpu", Scope::kDevice),
        std::pair("sys", Scope::kSystem)})
    if (words.take_if(word)) {
      scope = named;
      return true;
    }
  return false;
}

// ld{.weak|.volatile|.relaxed.scope|.acquire.scope}{.space}{.nc}{.vN}.type, and st likewise
Execute find_access(Words words, bool stores, const std::vector<std::uint8_t>& widths,
                    Access& access) {
  Space& space = access.space;
  bool in_order = words.take_if("volatile");
  if (!in_order && (words.take_if("relaxed") || take_order(words, stores, !stores, access))) {
    in_order = true;
    if (!take_scope(words, access.scope)) return nullptr;
  }
  if (!in_order) words.take_if("weak");
  space = take_space(words);
  if (stores && space == Space::kParam) return nullptr;
  access.read_only = words.take_if("nc");
  if (access.read_only && (stores || in_order || space != Space::kGlobal)) return nullptr;
  const std::size_t values = words.take_if("v2") ? 2 : words.take_if("v4") ? 4 : 1;
  const std::string_view type = words.take();
  if (!words.empty() || widths.size() != values || (in_order && values != 1)) return nullptr;
  for (std::uint8_t width : widths)
    if (width != widths[0]) return nullptr;
  return access_of(type, widths[0], stores, in_order);
}

template <typename T>
Execute change_of_integer(std::string_view name) {
  using U = std::make_unsigned_t<T>;
  const auto of = []<typename F>(F) -> Execute { return &change<T, F>; };
  if (name == "add") return of([](T a, T b, T) { return static_cast<T>(U(a) + U(b)); });
  if (name == "min") return of([](T a, T b, T) { return std::min(a, b); });
  if (name == "max") return of([](T a, T b, T) { return std::max(a, b); });
  return nullptr;
}

template <typename T>
Execute change_of_bits(std::string_view name) {
  const auto of = []<typename F>(F) -> Execute { return &change<T, F>; };
  if (name == "and") return of([](T a, T b, T) { return a & b; });
  if (name == "or") return of([](T a, T b, T) { return a | b; });
  if (name == "xor") return of([](T a, T b, T) { return a ^ b; });
  if (name == "exch") return of([](T, T b, T) { return b; });
  if (name == "cas") return of([](T a, T b, T c) { return a == b ? c : a; });
  return nullptr;
}

// atom{.sem}{.scope}{.space}.op.type, relaxed and .gpu where nothing is said
Execute find_change(Words words, bool returns, const std::vector<std::uint8_t>& widths,
                    Access& access) {
  if (!words.take_if("relaxed")) take_order(words, true, true, access);
  access.scope = Scope::kDevice;
  take_scope(words, access.scope);
  const Space space = access.space = take_space(words);
  const std::string_view name = words.take();
  const std::string_view type = words.take();
  if (!words.empty() || space == Space::kParam) return nullptr;
  if (widths.size() != (name == "cas" ? 2u : 1u) + returns) return nullptr;
  for (std::uint8_t width : widths)
    if (width != (type.ends_with("64") ? 8 : 4)) return nullptr;
  if (type == "u32") return change_of_integer<std::uint32_t>(name);
  if (type == "s32") return change_of_integer<std::int32_t>(name);
  if (type == "u64") return change_of_integer<std::uint64_t>(name);
  if (type == "s64") return change_of_integer<std::int64_t>(name);
  if (type == "b32") return change_of_bits<std::uint32_t>(name);
  return type == "b64" ? change_of_bits<std::uint64_t>(name) : nullptr;
}

Execute find_prefetch(Words words, Access& access) {
  access.prefetches = true;
  access.space = take_space(words);
  if (access.space == Space::kShared || access.space == Space::kParam) return nullptr;
  return words.take_one_of({"L1", "L2"}) && words.empty() ? &prefetch : nullptr;
}

}  // namespace

MemoryForm find_memory_form(std::string_view opcode, const std::vector<std::uint8_t>& widths,
                            std::uint8_t address_bytes) {
  Words words(opcode);
  const std::string_view what = words.take();
  const auto values = static_cast<std::uint8_t>(widths.size());
  MemoryForm form{.execute = nullptr,
                  .access = {.address_bytes = address_bytes, .values = values, .outputs = 0}};
  Space& space = form.access.space;
  if (what == "ld") {
    form.access.outputs = values;
    form.execute = find_access(words, false, widths, form.access);
  } else if (what == "st") {
    form.execute = find_access(words, true, widths, form.access);
  } else if (what == "atom" || what == "red") {
    form.access.outputs = what == "atom";
    form.execute = find_change(words, what == "atom", widths, form.access);
  } else if (what == "prefetch" && widths.empty()) {
    form.execute = find_prefetch(words, form.access);
  }
  if (address_bytes != 8 && !(address_bytes == 4 && space == Space::kShared))
    form.execute = nullptr;
  return form;
}

}  // namespace hearth::ptx
