#include "tools/hearth/line_reader.h"

#include <editline/readline.h>
#include <langinfo.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {
namespace {

// libedit calls functions without an argument of ours.
std::vector<std::string> completed_words;

char* next_word(const char* begun, int state) {
  static std::size_t next = 0;
  if (state == 0) next = 0;
  while (next < completed_words.size()) {
    const std::string& word = completed_words[next++];
    if (word.starts_with(begun)) return strdup(word.c_str());
  }
  return nullptr;
}

char** complete(const char* begun, int start, int) {
  return start == 0 && begun[0] == '/' ? rl_completion_matches(begun, next_word) : nullptr;
}

// libedit goes by the locale, for how many columns a typed character takes; in one without UTF-8,
// as a container or a remote shell has it, it would drop every letter beyond ASCII.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

LineReader::LineReader(std::vector<std::string> words)
    : interactive_(isatty(STDIN_FILENO) == 1 && terminal_of(stdout).interactive) {
  if (!interactive_) return;
  use_utf8();
  completed_words = std::move(words);
  static char name[] = "hearth";
  static char separators[] = " \t";
  rl_readline_name = name;
  rl_completer_word_break_characters = separators;
  rl_attempted_completion_function = complete;
  using_history();
}

LineReader::~LineReader() { completed_words.clear(); }

std::optional<std::string> LineReader::read(const std::string& prompt) {
  if (interactive_) return read_edited(prompt);
  char* line = nullptr;
  std::size_t room = 0;
  errno = 0;
  const ssize_t size = getline(&line, &room, stdin);
  const std::unique_ptr<char, void (*)(void*)> owner(line, std::free);
  if (size < 0 && std::ferror(stdin) != 0)
    throw_error(ErrorCode::kIo, "standard input cannot be read: {}", std::strerror(errno));
  if (size < 0) return std::nullopt;
  std::string text(line, static_cast<std::size_t>(size));
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

std::optional<std::string> LineReader::read_edited(const std::string& prompt) {
  const std::unique_ptr<char, void (*)(void*)> line(readline(prompt.c_str()), std::free);
  if (line == nullptr) return std::nullopt;
  if (line.get()[0] != '\0') add_history(line.get());
  return std::string(line.get());
}

}  // namespace hearth::tools
