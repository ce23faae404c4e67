// Small kernels, their memory, and what a launch of them throws.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/ptx/interpreter.h"

namespace hearth::ptx {

// The memory that a test lets kernels reach.
class TestMemory final : public AddressSpace {
 public:
  template <typename T>
  void add(std::vector<T>& values, bool writable = true) {
    const auto begin = reinterpret_cast<std::uintptr_t>(values.data());
    ranges_.push_back({begin, begin + values.size() * sizeof(T), writable});
  }
  Range around(std::uintptr_t address) const override {
    for (const Range& range : ranges_)
      if (address >= range.begin && address < range.end) return range;
    return {};
  }

 private:
  std::vector<Range> ranges_;
};

// Statements with the registers p, h (16 bits), r, f, rd and fd of many numbers, and the addresses
// %rd1 of `in`, %rd2 of `out`; %r1 is the thread, %rd3 = 4 times the thread.
inline std::string kernel(const std::string& body, const std::string& declarations = "") {
  return R"(.version 8.0
.target sm_90
.address_size 64
)" + declarations +
         R"(
.visible .entry test(.param .u64 in, .param .u64 out)
{
  .reg .pred %p<40>;
  .reg .b16 %h<40>;
  .reg .b32 %r<40>;
  .reg .f32 %f<40>;
  .reg .b64 %rd<40>;
  .reg .f64 %fd<40>;
  ld.param.u64 %rd1, [in];
  ld.param.u64 %rd2, [out];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd3, %r1, 4;
)" + body +
         "\n}\n";
}

struct Shape {
  unsigned threads = 32;
  unsigned blocks = 1;
  unsigned dynamic_shared = 0;
  std::uint64_t seed = 1;
};

template <typename In, typename Out>
void launch(const std::string& text, std::vector<In>& in, std::vector<Out>& out, Shape shape = {}) {
  const auto module = Module::parse(text);
  TestMemory memory;
  memory.add(in, false);
  memory.add(out);
  const void* addresses[2] = {in.data(), out.data()};
  run(*module->find("test"), {{shape.blocks, 1, 1}, {shape.threads, 1, 1}, shape.dynamic_shared},
      std::as_bytes(std::span(addresses)), memory, shape.seed);
}

// What is thrown, or nothing.
template <typename F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

inline std::string error_of_body(const std::string& body, Shape shape = {},
                                 const std::string& declarations = "") {
  std::vector<std::uint32_t> in(64), out(64);
  return error_of([&] { launch(kernel(body, declarations), in, out, shape); });
}

template <typename To, typename From>
To bits_as(From x) {
  To to;
  static_assert(sizeof to == sizeof x);
  std::memcpy(&to, &x, sizeof to);
  return to;
}

// One instruction with up to four operands of any widths, as 64 bits each: kind is the letter of
// their registers. Returns what is in the first.
inline std::uint64_t result_of(const std::string& opcode, const std::string& kinds,
                               const std::vector<std::uint64_t>& inputs) {
  std::vector<std::uint64_t> in = inputs, out(1);
  in.resize(4);
  const auto name = [&](std::size_t i) {
    const char kind = kinds[i];
    const std::string number = std::to_string(20 + i);
    return (kind == 'd' ? "%rd" : kind == 'w' ? "%r" : kind == 'h' ? "%h" : "%p") + number;
  };
  std::string body;
  for (std::size_t i = 1; i < kinds.size(); ++i) {
    const std::string at = ", [%rd1+" + std::to_string(8 * (i - 1)) + "];\n";
    if (kinds[i] == 'p')
      body += "ld.global.u32 %r9" + at + "setp.ne.u32 " + name(i) + ", %r9, 0;\n";
    else
      body += std::string("ld.global.") +
              (kinds[i] == 'd'   ? "u64 "
               : kinds[i] == 'w' ? "u32 "
                                 : "u16 ") +
              name(i) + at;
  }
  body += opcode + " " + name(0);
  for (std::size_t i = 1; i < kinds.size(); ++i) body += ", " + name(i);
  body += ";\n";
  if (kinds[0] == 'p') body += "selp.u32 %r20, 1, 0, %p20;\n";
  const std::string end = kinds[0] == 'd'   ? "u64 [%rd2], %rd20;"
                          : kinds[0] == 'h' ? "u16 [%rd2], %h20;"
                                            : "u32 [%rd2], %r20;";
  launch(kernel(body + "st.global." + end), in, out, {.threads = 1});
  return out[0];
}

}  // namespace hearth::ptx
