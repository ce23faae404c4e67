#include "tools/hearth/manual_page.h"

#include <fmt/format.h>

#include <algorithm>

namespace hearth::tools {
namespace {

// Text as roff has it: dashes that may be copied into a shell, and no line that begins with what
// would be a request.
std::string roff(std::string_view text) {
  std::string escaped;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) escaped += "\\&";
    if (c == '\\')
      escaped += "\\(rs";
    else if (c == '-')
      escaped += "\\-";
    else
      escaped += c;
    line_begins = c == '\n';
  }
  return escaped;
}

std::string bold(std::string_view text) { return fmt::format("\\fB{}\\fR", roff(text)); }
std::string italic(std::string_view text) { return fmt::format("\\fI{}\\fR", roff(text)); }

std::string as_sentence(const std::string& summary) {
  return summary.ends_with('.') ? summary : summary + ".";
}

// What stands behind the dash of NAME, on one line, and without the command's own name.
std::string purpose(const CommandDescription& command) {
  std::string text = command.summary.substr(0, command.summary.find('\n'));
  if (text.ends_with('.')) text.pop_back();
  const std::string own = command.command + " ";
  if (text.starts_with(own)) text.erase(0, own.size());
  return text;
}

// "-m, --model FILE", or "FILE" for an argument without a flag.
std::string spellings(const FlagDescription& flag) {
  std::string text;
  for (const std::string& spelling : flag.spellings)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", bold(spelling));
  if (flag.takes_value()) text += fmt::format("{}{}", text.empty() ? "" : " ", italic(flag.value));
  return text;
}

std::string synopsis(const CommandDescription& command) {
  std::string text = bold(command.command);
  if (!command.subcommands.empty())
    return fmt::format("{} {} [{}]\n", text, italic("SUBCOMMAND"), italic("FLAGS"));
  text += fmt::format(" [{}]", italic("FLAGS"));
  for (const FlagDescription& flag : command.flags) {
    if (!flag.positional && !flag.required) continue;
    const std::string name = flag.positional ? italic(flag.value) : spellings(flag);
    const std::string more = flag.repeatable && !flag.value.ends_with("...") ? " ..." : "";
    text += flag.required ? fmt::format(" {}{}", name, more) : fmt::format(" [{}{}]", name, more);
  }
  return text + "\n";
}

void append_flags(std::string& page, const CommandDescription& command) {
  std::string group;
  for (const FlagDescription& flag : command.flags) {
    if (flag.group != group) page += fmt::format(".SH {}\n", roff(group = flag.group));
    page += fmt::format(".TP\n{}\n{}\n", spellings(flag), roff(flag.help));
  }
}

void append_subcommands(std::string& page, const CommandDescription& command) {
  page += ".SH SUBCOMMANDS\n";
  for (const SubcommandName& subcommand : command.subcommands)
    page +=
        fmt::format(".TP\n{}\n{}. See {}(1).\n", bold(subcommand.name), roff(subcommand.summary),
                    bold(page_name(command.command + " " + subcommand.name)));
}

constexpr std::string_view kEnvironment =
    ".SH ENVIRONMENT\n"
    "Every long flag has a twin in the environment, which the flag overrides:\n"
    "\\fB\\-\\-ctx\\-size\\fR is \\fBHEARTH_ARG_CTX_SIZE\\fR. In brackets: other spellings of a "
    "flag.\n"
    ".TP\n\\fBHEARTH_CPU\\fR\n"
    "The instruction set of the kernels: scalar, avx2 or avx512. The answer is the same with "
    "each.\n"
    ".TP\n\\fBHEARTH_IO\\fR\n"
    "How files are read: uring or pread. The answer is the same with both.\n";

constexpr std::string_view kFiles =
    ".SH FILES\n"
    ".TP\n\\fI$XDG_CONFIG_HOME/hearth/machine.toml\\fR, \\fI~/.config/hearth/machine.toml\\fR\n"
    "What hearth doctor measured of this machine, for predictions and for the split of work with a "
    "GPU.\n"
    ".TP\n\\fIMODEL.profile.toml\\fR\n"
    "What was learned of the routing of a model, beside its file.\n";

constexpr std::string_view kExitStatus =
    ".SH EXIT STATUS\n"
    "0 when it did what was asked, 1 for an error, 2 for a wrong command line, 3 for a GPU that "
    "failed or is not there,\n"
    "128 and the number of a signal that ended it: 130 after Ctrl\\-C. An error is one line on "
    "standard error.\n";

std::string parent(const std::string& command) {
  return page_name(command.substr(0, command.rfind(' ')));
}

}  // namespace

std::string page_name(std::string_view command) {
  std::string name(command);
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::string manual_page(const CommandDescription& command, std::string_view version) {
  const std::string name = page_name(command.command);
  std::string title = name;
  std::transform(title.begin(), title.end(), title.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  std::string page = fmt::format(".TH {} 1 \"\" \"Hearth {}\" \"Hearth\"\n", roff(title), version);
  page += fmt::format(".SH NAME\n{} \\- {}\n", roff(name), roff(purpose(command)));
  page += fmt::format(".SH SYNOPSIS\n{}", synopsis(command));
  page += fmt::format(".SH DESCRIPTION\n{}\n", roff(as_sentence(command.summary)));
  if (!command.subcommands.empty()) append_subcommands(page, command);
  append_flags(page, command);
  page += kEnvironment;
  page += kFiles;
  page += kExitStatus;
  if (command.command.find(' ') != std::string::npos)
    page += fmt::format(".SH SEE ALSO\n{}(1)\n", bold(parent(command.command)));
  return page;
}

}  // namespace hearth::tools
