#include "tools/hearth/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace hearth::tools {
namespace {

// For bash and zsh, where nothing is special between single quotes but these themselves.
std::string quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'')
      result += "'\\''";
    else
      result += c == '\n' ? ' ' : c;
  }
  return result + "'";
}

std::string quoted_for_fish(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result + "'";
}

std::vector<std::string> subcommand_names(const CommandDescription& command) {
  std::vector<std::string> names;
  for (const SubcommandName& subcommand : command.subcommands) names.push_back(subcommand.name);
  return names;
}

std::vector<std::string> all_spellings(const CommandDescription& command) {
  std::vector<std::string> all;
  for (const FlagDescription& flag : command.flags)
    all.insert(all.end(), flag.spellings.begin(), flag.spellings.end());
  return all;
}

// Whether an argument without a flag may be a file.
bool takes_files(const CommandDescription& command) {
  return std::any_of(command.flags.begin(), command.flags.end(), [](const FlagDescription& flag) {
    return flag.positional && flag.takes_path();
  });
}

// "'hearth run -m' | 'hearth run --model'": the command, and the flag before the cursor.
std::string before_value(const CommandDescription& command, const FlagDescription& flag) {
  std::vector<std::string> patterns;
  for (const std::string& spelling : flag.spellings)
    patterns.push_back(quoted(fmt::format("{} {}", command.command, spelling)));
  return fmt::format("{}", fmt::join(patterns, " | "));
}

// Calls use(command, flag) for all flags that are followed by a value.
template <typename Use>
void for_each_value(const std::vector<CommandDescription>& commands, Use use) {
  for (const CommandDescription& command : commands)
    for (const FlagDescription& flag : command.flags)
      if (flag.takes_value() && !flag.spellings.empty()) use(command, flag);
}

constexpr std::string_view kBashBegin =
    R"(# Completion of hearth for bash. Written by 'hearth manual'.

# Of $command: its subcommands, its flags, and whether other arguments are files.
_hearth_words() {
  subcommands= flags= files=
  case $command in
)";

constexpr std::string_view kBashValues = R"(  esac
}

# The words that may follow the flag $previous, and whether files may. Fails for what is no flag
# with a value.
_hearth_values() {
  values= files=
  case "$command $previous" in
)";

constexpr std::string_view kBashEnd = R"(    *) return 1 ;;
  esac
}

_hearth() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local command=hearth subcommands flags files values word
  # --flag=value comes as three words.
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  _hearth_words
  for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    [[ " $subcommands " == *" $word "* ]] || break
    command+=" $word"
    _hearth_words
  done
  if ! _hearth_values; then
    _hearth_words
    values=$subcommands
    if [[ $current == -* || -z $subcommands$files ]]; then
      values=$flags
    fi
  fi
  mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
  if [[ -n $files ]]; then
    compopt -o filenames 2>/dev/null || :
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
  fi
}

complete -F _hearth hearth
)";

constexpr std::string_view kZshBegin = R"(#compdef hearth
# Completion of hearth for zsh. Written by 'hearth manual'.

# Of $command: its subcommands and flags, each with what it does, and whether other arguments are
# files.
_hearth_words() {
  subcommands=() flags=() files=
  case $command in
)";

constexpr std::string_view kZshValues = R"(  esac
}

# The words that may follow the flag $previous, and whether files may. Fails for what is no flag
# with a value.
_hearth_values() {
  values=() files=
  case "$command $previous" in
)";

constexpr std::string_view kZshEnd = R"(    (*) return 1 ;;
  esac
}

_hearth() {
  local command=hearth previous=$words[CURRENT-1] files word
  local -a subcommands flags values
  if [[ $words[CURRENT] == --*=* ]]; then
    previous=${words[CURRENT]%%=*}
    compset -P '*='
  fi
  _hearth_words
  for word in ${words[2,CURRENT-1]}; do
    [[ -n ${(M)subcommands:#$word:*} ]] || break
    command+=" $word"
    _hearth_words
  done
  if _hearth_values; then
    (( $#values )) && compadd -a values
    [[ -n $files ]] && _files
    return
  fi
  _hearth_words
  if (( $#subcommands )) && [[ $PREFIX != -* ]]; then
    _describe -t commands subcommand subcommands
  elif [[ $PREFIX == -* || -z $files ]]; then
    _describe -o flag flags
  else
    _files
  fi
}

if [[ $funcstack[1] == _hearth ]]; then
  _hearth "$@"
fi
)";

constexpr std::string_view kFishBegin =
    R"(# Completion of hearth for fish. Written by 'hearth manual'.

# Whether the command line begins with these subcommands, and whether it is just these.
function __hearth_in
    set -l words (commandline -opc)
    string match -q -- "hearth $argv *" "$words "
end
function __hearth_at
    set -l words (commandline -opc)
    test "$words" = (string trim -- "hearth $argv")
end

complete -c hearth -f
)";

// "name:what it does", a colon within the name escaped, as _describe wants it.
std::string described_for_zsh(std::string_view name, std::string_view what) {
  return quoted(fmt::format("{}:{}", name, what));
}

// -s m, -l model, or -o ngl.
std::string spelling_for_fish(const std::string& spelling) {
  if (spelling.starts_with("--")) return fmt::format(" -l {}", spelling.substr(2));
  return fmt::format(" {} {}", spelling.size() == 2 ? "-s" : "-o", spelling.substr(1));
}

// "run" of "hearth run"; empty of "hearth".
std::string_view below_hearth(std::string_view command) {
  const std::size_t blank = command.find(' ');
  return blank == command.npos ? std::string_view() : command.substr(blank + 1);
}

void append_fish_flag(std::string& script, const std::string& condition,
                      const FlagDescription& flag) {
  script += fmt::format("complete -c hearth -n {}", quoted_for_fish(condition));
  for (const std::string& spelling : flag.spellings) script += spelling_for_fish(spelling);
  if (flag.takes_value()) script += flag.takes_path() ? " -r -F" : " -x";
  if (const std::vector<std::string> words = flag.words(); !words.empty())
    script += fmt::format(" -a {}", quoted_for_fish(fmt::format("{}", fmt::join(words, " "))));
  script += fmt::format(" -d {}\n", quoted_for_fish(flag.help));
}

}  // namespace

std::string bash_completion(const std::vector<CommandDescription>& commands) {
  std::string script(kBashBegin);
  for (const CommandDescription& command : commands)
    script += fmt::format("    {}) subcommands={} flags={} files={} ;;\n", quoted(command.command),
                          quoted(fmt::format("{}", fmt::join(subcommand_names(command), " "))),
                          quoted(fmt::format("{}", fmt::join(all_spellings(command), " "))),
                          takes_files(command) ? "1" : "");
  script += kBashValues;
  for_each_value(commands, [&](const CommandDescription& command, const FlagDescription& flag) {
    script += fmt::format("    {}) values={} files={} ;;\n", before_value(command, flag),
                          quoted(fmt::format("{}", fmt::join(flag.words(), " "))),
                          flag.takes_path() ? "1" : "");
  });
  script += kBashEnd;
  return script;
}

std::string zsh_completion(const std::vector<CommandDescription>& commands) {
  std::string script(kZshBegin);
  for (const CommandDescription& command : commands) {
    script += fmt::format("    ({})\n      subcommands=(", quoted(command.command));
    for (const SubcommandName& subcommand : command.subcommands)
      script += fmt::format("\n        {}", described_for_zsh(subcommand.name, subcommand.summary));
    script += ")\n      flags=(";
    for (const FlagDescription& flag : command.flags)
      for (const std::string& spelling : flag.spellings)
        script += fmt::format("\n        {}", described_for_zsh(spelling, flag.help));
    script += fmt::format(")\n      files={} ;;\n", takes_files(command) ? "1" : "");
  }
  script += kZshValues;
  for_each_value(commands, [&](const CommandDescription& command, const FlagDescription& flag) {
    std::vector<std::string> words = flag.words();
    std::transform(words.begin(), words.end(), words.begin(),
                   [](const std::string& word) { return quoted(word); });
    script += fmt::format("    ({}) values=({}) files={} ;;\n", before_value(command, flag),
                          fmt::join(words, " "), flag.takes_path() ? "1" : "");
  });
  script += kZshEnd;
  return script;
}

std::string fish_completion(const std::vector<CommandDescription>& commands) {
  std::string script(kFishBegin);
  for (const CommandDescription& command : commands) {
    const std::string_view path = below_hearth(command.command);
    const std::string at = fmt::format("__hearth_at {}", path);
    const std::string in = command.subcommands.empty() ? fmt::format("__hearth_in {}", path) : at;
    for (const SubcommandName& subcommand : command.subcommands)
      script += fmt::format("complete -c hearth -n {} -a {} -d {}\n", quoted_for_fish(at),
                            subcommand.name, quoted_for_fish(subcommand.summary));
    for (const FlagDescription& flag : command.flags)
      if (!flag.spellings.empty()) append_fish_flag(script, in, flag);
    if (takes_files(command))
      script += fmt::format("complete -c hearth -n {} -F\n", quoted_for_fish(in));
  }
  return script;
}

}  // namespace hearth::tools
