// A string that remembers which of its bytes were given, by a user or a model, and which the
// template wrote. Only what the template wrote may become a control token.
//
// Every operation carries the marks along with the bytes, so that a "<|im_end|>" in a message stays
// text whatever the template does to the message.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace hearth::runtime::jinja {

class Text {
 public:
  Text() = default;
  explicit Text(std::string bytes) : bytes_(std::move(bytes)) {}
  explicit Text(std::string_view bytes) : bytes_(bytes) {}
  explicit Text(const char* bytes) : bytes_(bytes) {}
  static Text given(std::string bytes) {
    Text text(std::move(bytes));
    text.mark_all();
    return text;
  }

  const std::string& bytes() const { return bytes_; }
  std::string_view view() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  bool is_given(std::size_t byte) const { return !marks_.empty() && marks_[byte] != kWritten; }
  bool any_given() const { return marks_.find(kGiven) != std::string::npos; }

  void append(const Text& other) {
    if (!marks_.empty() || !other.marks_.empty()) {
      marks_.resize(bytes_.size(), kWritten);
      marks_ += other.marks_;
      marks_.resize(bytes_.size() + other.size(), kWritten);
    }
    bytes_ += other.bytes_;
  }
  void append(std::string_view written) {
    bytes_ += written;
    if (!marks_.empty()) marks_.resize(bytes_.size(), kWritten);
  }
  Text part(std::size_t begin, std::size_t count = std::string::npos) const {
    Text piece(std::string_view(bytes_).substr(begin, count));
    if (!marks_.empty()) piece.marks_ = marks_.substr(begin, count);
    return piece;
  }
  // One for each byte, 0 where the template wrote it; empty where it wrote them all.
  std::string_view marks() const { return marks_; }

  // `bytes` in place of the own ones: marked where any of those were, for what changes lengths.
  Text derived(std::string bytes) const {
    return any_given() ? given(std::move(bytes)) : Text(std::move(bytes));
  }
  // The same marks on as many other bytes.
  template <typename Change>
  Text each_byte(Change change) const {
    Text text = *this;
    std::transform(text.bytes_.begin(), text.bytes_.end(), text.bytes_.begin(), change);
    return text;
  }

  bool operator==(const Text& other) const { return bytes_ == other.bytes_; }

 private:
  static constexpr char kWritten = 0;
  static constexpr char kGiven = 1;
  void mark_all() { marks_.assign(bytes_.size(), kGiven); }

  std::string bytes_;
  std::string marks_;  // one for each byte; empty where none is given
};

}  // namespace hearth::runtime::jinja
