// A chat template: Jinja as published models use it, with the settings Hugging Face gives it.
//
//   jinja::Template chat(source, "tokenizer.chat_template");
//   const jinja::Text prompt = chat.render({{"messages", messages}, ...});
//
// Immutable after construction and safe to share between threads. What is not there: templates that
// read other templates, recursive loops, assignments to lists and mappings, integers beyond 64
// bits, and upper and lower case of letters beyond ASCII, which stay as they are.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/jinja/interpreter.h"

namespace hearth::runtime::jinja {

class Template {
 public:
  // `name` says in messages what the source is. Throws Error(kBadFile) with the line of a mistake.
  Template(std::string_view source, std::string name);

  // Throws Error(kBadInput) with the line where the template fails, or refuses the variables.
  Text render(const Variables& variables, const Limits& limits = {}) const;
  // As at that local time, for strftime_now.
  Text render_at(const std::tm& now, const Variables& variables, const Limits& limits = {}) const;

 private:
  const std::string name_;
  const Block block_;
};

}  // namespace hearth::runtime::jinja
