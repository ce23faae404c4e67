// The commands and their flags as data, collected from where they are declared: what manual pages
// and completions are made of.
#pragma once

#include <string>
#include <vector>

#include "tools/hearth/command_table.h"

namespace hearth::tools {

struct FlagDescription {
  std::vector<std::string> spellings;  // "-m", "--model"; none: an argument without a flag
  std::string value;                   // "FILE"; empty: the flag takes none
  std::string help;                    // as --help has it
  std::string group;                   // the heading there
  std::vector<std::string> choices;    // empty: any value
  bool required = false;
  bool repeatable = false;
  bool positional = false;  // may stand without a flag

  bool takes_value() const { return !value.empty(); }
  // Of the values, those that are known words: choices, and what stands in small letters in a value
  // like "FILE|auto|off".
  std::vector<std::string> words() const;
  // Whether the value may name a file, or a folder.
  bool takes_path() const;
};

struct SubcommandName {
  std::string name;
  std::string summary;
};

// Either flags or subcommands.
struct CommandDescription {
  std::string command;  // "hearth profile record"
  std::string summary;
  std::vector<FlagDescription> flags;
  std::vector<SubcommandName> subcommands;
};

// While one of these collects, run_subcommand() and CommandLine::parse() describe instead of doing
// anything: every subcommand declares its flags first and does nothing after a parse() that says
// false, as it does after --help.
class CommandDescriptions {
 public:
  // What is collected on this thread; null when nothing is.
  static CommandDescriptions* wanted();

  void add(const CommandTable& table);
  void add(const CommandDescription& command);

 private:
  friend std::vector<CommandDescription> describe(const CommandTable& table);
  std::vector<CommandDescription> commands_;
};

// The table itself, then its subcommands in their order, each before its own.
std::vector<CommandDescription> describe(const CommandTable& table);

}  // namespace hearth::tools
