#include "runtime/tokenizer/byte_alphabet.h"

#include <array>

#include "base/utf8.h"

namespace hearth::runtime {
namespace {

constexpr unsigned kFirstSubstitute = 0x100;

struct Alphabet {
  std::array<unsigned, 256> character{};          // of a byte
  std::array<int, kFirstSubstitute + 68> byte{};  // of a character; -1 where there is none
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  unsigned substitute = kFirstSubstitute;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    const unsigned character = printable ? byte : substitute++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<int>(byte);
  }
  return alphabet;
}
constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::optional<std::string> bytes_from_alphabet(std::string_view written) {
  std::string bytes;
  while (!written.empty()) {
    const std::size_t length = valid_utf8_length(written);
    unsigned character = static_cast<unsigned char>(written[0]);
    if (length == 2)
      character = (character & 0x1f) << 6 | (static_cast<unsigned char>(written[1]) & 0x3f);
    if (length == 0 || length > 2 || character >= kAlphabet.byte.size() ||
        kAlphabet.byte[character] < 0)
      return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[character]);
    written.remove_prefix(length);
  }
  return bytes;
}

std::string bytes_to_alphabet(std::string_view bytes) {
  std::string written;
  for (char byte : bytes) {
    const unsigned character = kAlphabet.character[static_cast<unsigned char>(byte)];
    if (character < 0x80) {
      written += static_cast<char>(character);
    } else {
      written += static_cast<char>(0xc0 | character >> 6);
      written += static_cast<char>(0x80 | (character & 0x3f));
    }
  }
  return written;
}

}  // namespace hearth::runtime
