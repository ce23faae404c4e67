#include "tests/ptx/lower.h"

#include <map>
#include <optional>

#include "tests/ptx/operations.h"

namespace hearth::ptx {

const Forms& forms() {
  static const Forms all = [] {
    Forms forms;
    add_arithmetic(forms);
    add_bits(forms);
    add_comparisons(forms);
    add_conversions(forms);
    add_collectives(forms);
    add_control(forms);
    return forms;
  }();
  return all;
}

namespace {

std::optional<Special> special_register(std::string_view name) {
  static const std::map<std::string_view, Special> known = {
      {"%tid.x", kTidX},       {"%tid.y", kTidY},       {"%tid.z", kTidZ},
      {"%ntid.x", kNtidX},     {"%ntid.y", kNtidY},     {"%ntid.z", kNtidZ},
      {"%ctaid.x", kCtaidX},   {"%ctaid.y", kCtaidY},   {"%ctaid.z", kCtaidZ},
      {"%nctaid.x", kNctaidX}, {"%nctaid.y", kNctaidY}, {"%nctaid.z", kNctaidZ},
      {"%laneid", kLaneid},    {"%warpid", kWarpid}};
  const auto found = known.find(name);
  return found == known.end() ? std::nullopt : std::optional(found->second);
}

std::uint8_t width_of_type(std::string_view opcode) {
  const std::string_view type = opcode.substr(opcode.rfind('.') + 1);
  if (type.ends_with("64")) return 8;
  return type.ends_with("32") ? 4 : 2;
}

const char* reason(std::string_view opcode) {
  if (opcode.find(".approx") != opcode.npos || opcode.find(".ftz") != opcode.npos)
    return ": its result would depend on the card";
  if (opcode == "add.f32" || opcode == "sub.f32" || opcode == "mul.f32" || opcode == "add.f64" ||
      opcode == "sub.f64" || opcode == "mul.f64")
    return ": without .rn it may become part of another instruction";
  return "";
}

class Lowering {
 public:
  Lowering(const Function& function, const Addresses& addresses, Kernel& kernel)
      : function_(function), addresses_(addresses), kernel_(kernel) {}

  std::vector<Lowered> lower() {
    std::vector<std::size_t> begins;  // of each statement's instructions
    for (const Statement& statement : function_.statements) {
      begins.push_back(code_.size());
      lower(statement);
    }
    begins.push_back(code_.size());
    line_ = function_.statements.empty() ? 0 : function_.statements.back().line;
    add_plain("ret").goes_on = false;  // an end without ret is one
    for (const auto& [instruction, label] : branches_)
      code_[instruction].target = begins[function_.labels.at(label)];
    for (Lowered& each : code_)
      if (each.target != Lowered::kNone) each.immediate = static_cast<std::int64_t>(each.target);
    return std::move(code_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { fail_at(line_, what); }

  Lowered& add_plain(const std::string& opcode) {
    Lowered lowered{.execute = forms().find(opcode)->second.execute, .slots = {}};
    lowered.line = line_;
    code_.push_back(std::move(lowered));
    return code_.back();
  }

  // A guard is a branch around, so that lanes part and meet there as anywhere.
  void lower(const Statement& statement) {
    line_ = statement.line;
    const std::string opcode(statement.opcode);
    const bool guarded = statement.guard >= 0;
    if (opcode == "bra" || opcode == "bra.uni") {
      if (statement.operands.size() != 1) fail("a branch has one target");
      const char* guard = !guarded ? "" : statement.guard_negated ? "@!" : "@";
      branches_.emplace_back(code_.size(), statement.operands[0].name);
      add_branch(guard + opcode, statement.guard).goes_on = guarded;
      return;
    }
    std::size_t around = 0;
    if (guarded) {
      around = code_.size();
      add_branch(statement.guard_negated ? "@bra" : "@!bra", statement.guard);
    }
    lower_unguarded(statement, opcode);
    if (guarded) code_[around].target = code_.size();
  }

  Lowered& add_branch(const std::string& opcode, int guard) {
    Lowered& lowered = add_plain(opcode);
    if (guard >= 0) lowered.slots.push_back({true, static_cast<std::uint32_t>(guard)});
    return lowered;
  }

  void lower_unguarded(const Statement& statement, const std::string& opcode) {
    std::vector<const Operand*> operands;  // vectors taken apart, without an address
    const Operand* address = nullptr;
    for (const Operand& operand : statement.operands) {
      if (operand.kind == Operand::Kind::kAddress) {
        if (address != nullptr) fail("two addresses");
        address = &operand;
      } else if (operand.kind == Operand::Kind::kVector) {
        for (const Operand& part : operand.parts) operands.push_back(&part);
      } else {
        operands.push_back(&operand);
      }
    }
    if (address != nullptr) return lower_memory(opcode, operands, *address);
    const auto [begin, end] = forms().equal_range(opcode);
    if (begin == end) fail("no known instruction: " + opcode + reason(opcode));
    for (auto form = begin; form != end; ++form) {
      if (!fits(form->second, operands)) continue;
      Lowered lowered{.execute = form->second.execute, .slots = {}};
      for (std::size_t i = 0; i < operands.size(); ++i)
        lowered.slots.push_back(slot(*operands[i], form->second.widths[i]));
      lowered.outputs = form->second.outputs;
      lowered.goes_on = opcode != "ret" && opcode != "exit" && opcode != "trap";
      push(std::move(lowered));
      return;
    }
    fail("operands of other widths than known: " + opcode);
  }

  bool fits(const Form& form, const std::vector<const Operand*>& operands) const {
    if (operands.size() != form.widths.size()) return false;
    for (std::size_t i = 0; i < operands.size(); ++i)
      if (!fits(*operands[i], form.widths[i], i < form.outputs)) return false;
    return true;
  }
  bool fits(const Operand& operand, std::uint8_t width, bool written) const {
    if (operand.negated) return false;
    switch (operand.kind) {
      case Operand::Kind::kRegister:
        return function_.registers[operand.reg].bytes == width;
      case Operand::Kind::kInteger:
        return !written;
      case Operand::Kind::kFloat:
        return !written && width == 4;
      case Operand::Kind::kDouble:
        return !written && width == 8;
      case Operand::Kind::kName:
        return !written && (width == 4 || width == 8);
      default:
        return false;
    }
  }

  void lower_memory(const std::string& opcode, const std::vector<const Operand*>& operands,
                    const Operand& address) {
    std::vector<std::uint8_t> widths;
    for (const Operand* operand : operands) {
      const bool is_register = operand->kind == Operand::Kind::kRegister;
      widths.push_back(is_register ? function_.registers[operand->reg].bytes
                                   : width_of_type(opcode));
    }
    const Operand& base = address.parts[0];
    const std::uint8_t base_width =
        base.kind == Operand::Kind::kRegister ? function_.registers[base.reg].bytes : 8;
    const MemoryForm form = find_memory_form(opcode, widths, base_width);
    if (form.execute == nullptr) fail("no known access, or of unknown operands: " + opcode);
    Lowered lowered{.execute = form.execute, .slots = {}};
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!fits(*operands[i], widths[i], i < form.access.outputs))
        fail("unknown operand of " + opcode);
      lowered.slots.push_back(slot(*operands[i], widths[i]));
    }
    lowered.slots.push_back(slot(base, base_width));
    lowered.outputs = form.access.outputs;
    lowered.access = form.access;
    lowered.immediate = static_cast<std::int64_t>(address.bits);
    push(std::move(lowered));
  }

  void push(Lowered&& lowered) {
    lowered.line = line_;
    code_.push_back(std::move(lowered));
  }

  Slot slot(const Operand& operand, std::uint8_t width) {
    switch (operand.kind) {
      case Operand::Kind::kRegister:
        return {true, operand.reg};
      case Operand::Kind::kName:
        break;
      default:
        return constant(width == 0 && operand.bits != 0 ? ~std::uint64_t{0} : operand.bits, width);
    }
    if (const auto special = special_register(operand.name)) {
      if (width != 4) fail("a special register has 32 bits");
      return {false, static_cast<std::uint32_t>(*special * kSpecialBytes)};
    }
    const auto variable = addresses_.variables.find(operand.name);
    if (variable == addresses_.variables.end()) fail("unknown name: " + std::string(operand.name));
    return constant(variable->second, width);
  }

  // A row with the value in each lane.
  Slot constant(std::uint64_t bits, std::uint8_t width) {
    const std::size_t bytes = width == 0 ? 4 : width;
    if (bytes < 8) bits &= (std::uint64_t{1} << 8 * bytes) - 1;
    const auto [known, fresh] = constants_.try_emplace({bits, bytes}, kernel_.constants.size());
    if (fresh)
      for (unsigned lane = 0; lane < kLanes; ++lane)
        for (std::size_t i = 0; i < bytes; ++i)
          kernel_.constants.push_back(static_cast<std::byte>(bits >> 8 * i));
    return {false, static_cast<std::uint32_t>(known->second) | kConstant};
  }

  const Function& function_;
  const Addresses& addresses_;
  Kernel& kernel_;
  std::vector<Lowered> code_;
  std::vector<std::pair<std::size_t, std::string_view>> branches_;
  std::map<std::pair<std::uint64_t, std::size_t>, std::size_t> constants_;
  unsigned line_ = 0;
};

}  // namespace

std::vector<Lowered> lower(const Function& function, const Addresses& addresses, Kernel& kernel) {
  return Lowering(function, addresses, kernel).lower();
}

}  // namespace hearth::ptx
