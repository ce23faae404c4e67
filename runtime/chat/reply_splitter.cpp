#include "runtime/chat/reply_splitter.h"

#include <algorithm>
#include <array>

namespace hearth::runtime {
namespace {

struct Marks {
  std::string_view begin;
  std::string_view end;
};

constexpr std::array<Marks, 4> kMarks = {{
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
    {"<|channel>thought", "<channel|>"},
    {"<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>final<|message|>"},
}};
// Begins an answer without thinking before it.
constexpr std::string_view kAnswer = "<|channel|>final<|message|>";

std::string_view without_space(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \n") + 1);
}

}  // namespace

ReplySplitter::ReplySplitter(std::string_view prompt, Sink sink) : sink_(std::move(sink)) {
  for (const Marks& marks : kMarks) thinking_ |= without_space(prompt).ends_with(marks.begin);
}

void ReplySplitter::add(std::string_view piece, bool control) {
  held_ += piece;
  control_.resize(held_.size(), control ? 1 : 0);
  while (switch_at_mark()) {
  }
  emit(held_.size() - bytes_that_may_mark());
}

void ReplySplitter::finish() { emit(held_.size()); }

void ReplySplitter::emit(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i)
    if (control_[i] == 0) text += held_[i];
  held_.erase(0, bytes);
  control_.erase(0, bytes);
  if (!text.empty()) sink_(text, thinking_);
}

bool ReplySplitter::switch_at_mark() {
  for (const Marks& marks : kMarks) {
    const std::string_view mark = thinking_ ? marks.end : marks.begin;
    const std::size_t at = held_.find(mark);
    if (at == std::string::npos) continue;
    emit(at);
    held_.erase(0, mark.size());
    control_.erase(0, mark.size());
    thinking_ = !thinking_;
    return true;
  }
  const std::size_t at = thinking_ ? std::string::npos : held_.find(kAnswer);
  if (at == std::string::npos) return false;
  emit(at);
  held_.erase(0, kAnswer.size());
  control_.erase(0, kAnswer.size());
  return true;
}

std::size_t ReplySplitter::bytes_that_may_mark() const {
  std::size_t most = 0;
  const auto look = [&](std::string_view mark) {
    for (std::size_t count = std::min(mark.size() - 1, held_.size()); count > most; --count)
      if (held_.ends_with(mark.substr(0, count))) most = count;
  };
  for (const Marks& marks : kMarks) look(thinking_ ? marks.end : marks.begin);
  if (!thinking_) look(kAnswer);
  return most;
}

}  // namespace hearth::runtime
