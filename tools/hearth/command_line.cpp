#include "tools/hearth/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "tools/hearth/command_description.h"
#include "tools/hearth/llama_flags.h"
#include "tools/hearth/nearest_name.h"

extern char** environ;

namespace hearth::tools {
namespace {

constexpr std::string_view kEnvironmentPrefix = "HEARTH_ARG_";

// "--ctx-size" → "HEARTH_ARG_CTX_SIZE"
std::string environment_twin(std::string_view long_name) {
  std::string twin(kEnvironmentPrefix);
  for (const char c : long_name.substr(2)) {
    const bool lower = c >= 'a' && c <= 'z';
    twin += c == '-' ? '_' : lower ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return twin;
}

// What to set instead of a variable that is the twin of another name of the flag than its first.
std::string advised_twin(const CLI::Option& option, std::string_view variable) {
  for (const std::string& name : option.get_lnames()) {
    if (option.get_envname().empty() || environment_twin("--" + name) != variable) continue;
    const bool clears = name.starts_with("no-") && !option.get_lnames().front().starts_with("no-");
    return option.get_envname() + (clears ? "=0" : "");
  }
  return {};
}

// The first long name of a list like "-m,--model,MODEL".
std::string first_long_name(std::string_view names) {
  const std::size_t begin = names.find("--");
  if (begin == names.npos) return {};
  return std::string(names.substr(begin, names.find(',', begin) - begin));
}

// The spellings of llama.cpp that lead to this flag, for its help text.
std::string other_spellings(std::string_view names) {
  const LlamaFlag* row = find_llama_flag(first_long_name(names));
  std::string text;
  if (row == nullptr) return text;
  const std::string own = fmt::format(",{},", names);
  std::string_view spellings = row->spellings;
  while (spellings != row->name()) {
    const std::string_view spelling = spellings.substr(0, spellings.find(' '));
    if (own.find(fmt::format(",{},", spelling)) == own.npos) text += fmt::format(" [{}]", spelling);
    spellings.remove_prefix(spelling.size() + 1);
  }
  return text;
}

// Devices may be named more than once, and - is a standard stream.
bool is_one_file(const std::string& a, const std::string& b) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (a == "-" || b == "-") return false;
  if (fs::exists(a, error) && fs::exists(b, error))
    return fs::is_regular_file(a, error) && fs::equivalent(a, b, error);
  const fs::path one = fs::weakly_canonical(a, error), other = fs::weakly_canonical(b, error);
  return !one.empty() && one == other;
}

bool is_repeatable(const CLI::Option& option) {
  return option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
}

// A positional without a flag of its own that may be there any number of times.
bool takes_the_rest(const CLI::Option& option) {
  return option.get_lnames().empty() && is_repeatable(option);
}

// Without CLI11's mark of the names that clear a flag.
class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    static constexpr std::string_view kMark = "{false}";
    std::string name = Formatter::make_option_name(option, is_positional);
    for (std::size_t at; (at = name.find(kMark)) != name.npos;) name.erase(at, kMark.size());
    return name;
  }
};

// CLI11 parts groups by two empty lines, and the description and the usage by none.
std::string help_of(const CLI::App& app) {
  std::string text = app.help();
  for (std::size_t at; (at = text.find("\n\n\n")) != text.npos;) text.erase(at, 1);
  if (const std::size_t usage = text.find("\nUsage: "); usage != text.npos)
    text.insert(usage, 1, '\n');
  return text;
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

void refuse_standard_output(std::string_view flag, std::string_view file) {
  if (file == "-")
    throw_error(ErrorCode::kUsage,
                "{}: standard output is not possible here; name a file (./- for one of that name)",
                flag);
}

struct CommandLine::State {
  std::string subcommand;
  std::string group = "Options";
  CLI::App app;
  CommandDescription description;
  std::vector<const CLI::Option*> in_arguments;
  std::vector<std::function<void()>> checks;
  struct FileFlag {
    const CLI::Option* option;
    bool writes;
  };
  std::vector<FileFlag> files;  // the flags that name one

  const CLI::Option* find(const std::string& spelling) const {
    if (const CLI::Option* option = app.get_option_no_throw(spelling)) return option;
    const LlamaFlag* row = find_llama_flag(spelling);
    return row == nullptr ? nullptr : app.get_option_no_throw(std::string(row->name()));
  }

  std::size_t most_positionals() const {
    std::size_t most = 0;
    for (const CLI::Option* option : app.get_options()) {
      if (!option->get_positional()) continue;
      if (takes_the_rest(*option)) return std::numeric_limits<std::size_t>::max();
      most += 1;
    }
    return most;
  }

  void describe(const Flag& flag, const CLI::Option& option, bool repeatable) {
    FlagDescription& described = description.flags.emplace_back();
    for (const std::string& name : option.get_snames()) described.spellings.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) described.spellings.push_back("--" + name);
    described.value = flag.value;
    described.help = option.get_description();
    described.group = group;
    described.choices = flag.choices;
    described.required = flag.required;
    described.repeatable = repeatable;
    described.positional = option.get_positional();
  }

  [[noreturn]] void unknown_flag(const std::string& spelling) const;
  std::vector<std::string> normalised(const std::vector<std::string>& arguments);
  void check_switches_of_environment() const;
  void run_checks() const;
  void report_unknown_twins() const;
  void check_written_files() const;
};

CommandLine::CommandLine(std::string_view subcommand, std::string_view summary)
    : state_(std::make_unique<State>()) {
  state_->subcommand = subcommand;
  state_->description = {.command = fmt::format("hearth {}", subcommand),
                         .summary = std::string(summary)};
  CLI::App& app = state_->app;
  app.name(fmt::format("hearth {}", subcommand));
  app.description(std::string(summary));
  app.set_help_flag("-h,--help", "print this help and exit");
  app.footer(
      "Every long flag has a twin in the environment, which the flag overrides:\n"
      "--ctx-size is HEARTH_ARG_CTX_SIZE. In brackets: other spellings.");
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(36);
}

CommandLine::~CommandLine() = default;

void CommandLine::group(std::string_view title) { state_->group = title; }

void CommandLine::add(const Flag& flag, bool& variable) {
  CLI::Option* option = state_->app.add_flag(std::string(flag.names), variable,
                                             std::string(flag.help) + other_spellings(flag.names));
  option->group(state_->group);
  option->envname(environment_twin(first_long_name(flag.names)));
  option->option_text(" ");  // keeps the name of the twin out of the help
  state_->describe(flag, *option, /*repeatable=*/false);
}

void CommandLine::add_question(const Flag& flag, std::function<void()> answer) {
  const auto answered = [answer = std::move(answer)] {
    answer();
    throw CLI::Success();
  };
  CLI::Option* option =
      state_->app.add_flag_callback(std::string(flag.names), answered, std::string(flag.help));
  option->group(state_->group);
  option->envname(environment_twin(first_long_name(flag.names)));
  option->option_text(" ");
  state_->describe(flag, *option, /*repeatable=*/false);
}

void CommandLine::add_value(const Flag& flag, const std::string& default_text, bool repeatable,
                            Assign assign) {
  std::string help(flag.help);
  if (flag.required) help += " (required)";
  for (std::size_t i = 0; i < flag.choices.size(); ++i)
    help += (i == 0 ? ": " : ", ") + flag.choices[i];
  if (!default_text.empty()) help += fmt::format(" (default {})", default_text);
  const std::string long_name = first_long_name(flag.names);
  const std::string name = long_name.empty() ? std::string(flag.names) : long_name;
  const bool names_file = flag.value.find("FILE") != flag.value.npos || flag.value == "FOLDER";
  // The callback reads the raw results: what CLI11 passes it has "{}" and the like interpreted.
  const auto option_of_callback = std::make_shared<CLI::Option*>();
  CLI::Option* option = state_->app.add_option(
      std::string(flag.names),
      [this, option_of_callback, name, names_file,
       assign = std::move(assign)](const CLI::results_t&) {
        const CLI::Option& given = **option_of_callback;
        try {
          for (const std::string& value : given.results()) {
            if (names_file && value.empty())
              throw_error(ErrorCode::kUsage, "the name is empty; give one, or leave the flag out");
            assign(value);
          }
        } catch (const Error& error) {
          const bool argument =
              given.get_positional() || std::ranges::count(state_->in_arguments, &given) > 0;
          throw_error(error.code(), "{}: {}{}", name, error.what(),
                      argument ? "" : fmt::format(" (of {})", given.get_envname()));
        }
        return true;
      },
      help + other_spellings(flag.names));
  *option_of_callback = option;
  option->expected(1)->group(state_->group);
  option->multi_option_policy(repeatable ? CLI::MultiOptionPolicy::TakeAll
                                         : CLI::MultiOptionPolicy::Throw);
  option->required(flag.required);
  option->option_text(std::string(flag.value));
  if (!flag.choices.empty()) option->check(CLI::IsMember(flag.choices));
  if (!long_name.empty())
    option->envname(environment_twin(long_name));
  else if (repeatable)
    option->allow_extra_args();
  state_->describe(flag, *option, repeatable);
  if (names_file) state_->files.push_back({option, flag.writes});
}

void CommandLine::State::unknown_flag(const std::string& spelling) const {
  if (const LlamaFlag* row = find_llama_flag(spelling)) {
    if (!row->reason.empty())
      throw_error(ErrorCode::kUsage, "llama.cpp flag {} is not supported because {}", spelling,
                  row->reason);
    throw_error(ErrorCode::kUsage, "{} has no effect on 'hearth {}'; leave it out", spelling,
                subcommand);
  }
  // Every short flag is one edit away from every other.
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      if (spelling.size() > 3) names.push_back("--" + name);
  const std::string_view nearest = nearest_name(spelling, names);
  throw_error(
      ErrorCode::kUsage, "unknown flag {}; {}'hearth {} --help' lists all", printable(spelling),
      nearest.empty() ? std::string() : fmt::format("did you mean {}? ", nearest), subcommand);
}

// The arguments with every flag under a name that CLI11 knows and every value as an argument of its
// own: CLI11 takes it as it is, also if it is empty or begins with a dash.
std::vector<std::string> CommandLine::State::normalised(const std::vector<std::string>& arguments) {
  std::vector<std::string> flags, others;
  in_arguments.clear();
  bool only_others = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (only_others || argument.size() < 2 || argument[0] != '-') {
      if (others.size() == most_positionals())
        throw_error(ErrorCode::kUsage,
                    "unexpected argument '{}'; 'hearth {} --help' lists the flags",
                    printable(argument), subcommand);
      others.push_back(argument);
      continue;
    }
    if (argument == "--") {
      only_others = true;
      continue;
    }
    const std::size_t equals = argument.starts_with("--") ? argument.find('=') : argument.npos;
    const std::string spelling = argument.substr(0, equals);
    const CLI::Option* option = find(spelling);
    if (option == nullptr) unknown_flag(spelling);
    if (!is_repeatable(*option) && std::ranges::count(in_arguments, option) > 0)
      throw_error(ErrorCode::kUsage, "{} is given twice; leave one out", spelling);
    in_arguments.push_back(option);

    const bool known_as_is = app.get_option_no_throw(spelling) != nullptr;
    const std::string name =
        known_as_is ? spelling : std::string(find_llama_flag(spelling)->name());
    if (option->get_items_expected_max() == 0) {
      flags.push_back(equals == argument.npos ? name : name + argument.substr(equals));
      continue;
    }
    flags.push_back(name);
    if (equals == argument.npos && i + 1 == arguments.size())
      throw_error(ErrorCode::kUsage, "{} needs a value", spelling);
    flags.push_back(equals == argument.npos ? arguments[++i] : argument.substr(equals + 1));
  }
  for (const CLI::Option* option : app.get_options())  // also without its name
    if (option->get_positional() && std::ranges::count(in_arguments, option) > 0 &&
        others.size() == most_positionals())
      throw_error(ErrorCode::kUsage, "{} is given twice; leave one out", option->get_name());
  if (!others.empty()) flags.push_back("--");
  flags.insert(flags.end(), others.begin(), others.end());
  return flags;
}

// CLI11's own message does not name the variable.
void CommandLine::State::check_switches_of_environment() const {
  for (const CLI::Option* option : app.get_options()) {
    const char* value = std::getenv(option->get_envname().c_str());
    if (value == nullptr || *value == '\0' || option->get_items_expected_max() > 0 ||
        std::ranges::count(in_arguments, option) > 0)
      continue;
    try {
      CLI::detail::to_flag_value(value);
    } catch (const std::logic_error&) {
      throw_error(ErrorCode::kUsage, "{}={}: give 1, or 0 for no", option->get_envname(),
                  printable(value));
    }
  }
}

// Where a flag that an error names was not given as an argument, the error says where it is from.
void CommandLine::State::run_checks() const {
  try {
    for (const auto& check : checks) check();
  } catch (const Error& error) {
    std::string line = error.what(), twins;
    for (const CLI::Option* option : app.get_options())
      if (option->count() > 0 && !option->get_envname().empty() &&
          std::ranges::count(in_arguments, option) == 0 && !option->get_positional() &&
          line.find("--" + option->get_lnames().front()) != line.npos)
        twins +=
            fmt::format(" (--{} is of {})", option->get_lnames().front(), option->get_envname());
    throw_error(error.code(), "{}{}", line, twins);
  }
}

void CommandLine::State::report_unknown_twins() const {
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view entry(*variable);
    if (!entry.starts_with(kEnvironmentPrefix)) continue;
    const std::string_view name = entry.substr(0, entry.find('='));
    const auto options = app.get_options();
    if (std::any_of(options.begin(), options.end(),
                    [&](const CLI::Option* option) { return option->get_envname() == name; }))
      continue;
    std::string advised;
    for (const CLI::Option* option : options)
      if (advised.empty()) advised = advised_twin(*option, name);
    if (advised.empty())
      fmt::print(stderr, "hearth: {} has no effect: it is not a flag of 'hearth {}'\n",
                 printable(name), subcommand);
    else
      fmt::print(stderr, "hearth: {} has no effect; use {}\n", printable(name), advised);
  }
}

// What one flag writes would replace what another reads, or writes; - is standard output for a flag
// that says so in its value, FILE|-.
void CommandLine::State::check_written_files() const {
  const auto name_of = [](const CLI::Option& option) {
    return option.get_lnames().empty() ? option.get_name() : "--" + option.get_lnames().front();
  };
  for (const FileFlag& written : files)
    if (written.writes && !written.option->get_option_text().ends_with("|-"))
      for (const std::string& file : written.option->results())
        refuse_standard_output(name_of(*written.option), file);
  for (const FileFlag& written : files)
    for (const FileFlag& other : files)
      for (const std::string& file : other.option->results())
        if (written.writes && written.option != other.option && written.option->count() > 0 &&
            is_one_file(written.option->results().front(), file))
          throw_error(ErrorCode::kUsage, "{} is the file of {}; name another",
                      name_of(*written.option), name_of(*other.option));
}

bool CommandLine::parse(const std::vector<std::string>& arguments) {
  if (CommandDescriptions* all = CommandDescriptions::wanted())
    return all->add(state_->description), false;
  std::vector<std::string> reversed = state_->normalised(arguments);  // the order CLI11 wants
  std::reverse(reversed.begin(), reversed.end());
  try {
    state_->app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", help_of(state_->app));
    return false;
  } catch (const CLI::Success&) {
    return false;
  } catch (const CLI::ParseError& error) {
    state_->check_switches_of_environment();
    throw_error(ErrorCode::kUsage, "{}; see 'hearth {} --help'", one_line(error.what()),
                state_->subcommand);
  }
  state_->report_unknown_twins();
  state_->check_written_files();
  state_->run_checks();
  return true;
}

void CommandLine::check(std::function<void()> check) { state_->checks.push_back(std::move(check)); }

bool CommandLine::given(std::string_view name) const {
  return state_->app.get_option(std::string(name))->count() > 0;
}

std::string CommandLine::given_in(std::string_view group) const {
  for (const CLI::Option* option : state_->app.get_options())
    if (option->get_group() == group && option->count() > 0)
      return "--" + option->get_lnames().front();
  return {};
}

}  // namespace hearth::tools
