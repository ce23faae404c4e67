// Divides what a model generates into thinking and answer, as it comes.
//
// Models mark their thinking in one of a few ways; a mark may arrive in parts, so that text which
// could become one is held back. Control tokens that mark nothing are left out.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace hearth::runtime {

class ReplySplitter {
 public:
  using Sink = std::function<void(std::string_view text, bool thinking)>;

  // `prompt` is the text before the reply: a template may have begun the thinking already.
  ReplySplitter(std::string_view prompt, Sink sink);

  // The text of a token, with that of control tokens.
  void add(std::string_view piece, bool control);
  void finish();  // what was held back

 private:
  void emit(std::size_t bytes);
  bool switch_at_mark();
  std::size_t bytes_that_may_mark() const;

  Sink sink_;
  bool thinking_ = false;
  std::string held_;
  std::string control_;  // for each byte of held_: 1 if it is of a control token
};

}  // namespace hearth::runtime
