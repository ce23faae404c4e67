#include "tools/hearth/command_description.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace hearth::tools {
namespace {

thread_local CommandDescriptions* wanted_on_this_thread = nullptr;

// The flag that every command has beside its own.
const FlagDescription kHelp = {.spellings = {"-h", "--help"},
                               .value = {},
                               .help = "print this help and exit",
                               .group = "Options"};

// The parts of "FILE|auto|off".
std::vector<std::string> alternatives(const std::string& value) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= value.size();) {
    const std::size_t end = std::min(value.find('|', begin), value.size());
    parts.push_back(value.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// Described is what runs while one of these lives.
class Collecting {
 public:
  explicit Collecting(CommandDescriptions& into)
      : outer_(std::exchange(wanted_on_this_thread, &into)) {}
  ~Collecting() { wanted_on_this_thread = outer_; }
  Collecting(const Collecting&) = delete;
  Collecting& operator=(const Collecting&) = delete;

 private:
  CommandDescriptions* outer_;
};

}  // namespace

std::vector<std::string> FlagDescription::words() const {
  std::vector<std::string> words = choices;
  for (std::string& part : alternatives(value))
    if (!part.empty() && part[0] >= 'a' && part[0] <= 'z') words.push_back(std::move(part));
  return words;
}

bool FlagDescription::takes_path() const {
  constexpr std::string_view kPaths[] = {"FILE", "FILE...", "FOLDER", "PATH"};
  for (const std::string& part : alternatives(value))
    if (std::find(std::begin(kPaths), std::end(kPaths), part) != std::end(kPaths)) return true;
  return false;
}

CommandDescriptions* CommandDescriptions::wanted() { return wanted_on_this_thread; }

void CommandDescriptions::add(const CommandTable& table) {
  CommandDescription& command = commands_.emplace_back();
  command.command = table.command;
  command.summary = table.summary;
  if (!table.footer.empty()) command.summary += fmt::format("\n{}", table.footer.substr(1));
  command.flags = {kHelp};
  for (const Subcommand& subcommand : table.subcommands)
    command.subcommands.push_back({std::string(subcommand.name), std::string(subcommand.summary)});
  for (const Subcommand& subcommand : table.subcommands) {
    const std::size_t before = commands_.size();
    subcommand.run({});
    CHECK_GT(commands_.size(), before);
  }
}

void CommandDescriptions::add(const CommandDescription& command) {
  commands_.push_back(command);
  std::vector<FlagDescription>& flags = commands_.back().flags;
  flags.insert(flags.begin(), kHelp);
}

std::vector<CommandDescription> describe(const CommandTable& table) {
  CommandDescriptions all;
  const Collecting collecting(all);
  all.add(table);
  return std::move(all.commands_);
}

}  // namespace hearth::tools
