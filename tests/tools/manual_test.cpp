// What is written from the table of subcommands: nothing is missing, and the shells and roff read
// it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "tests/tools/support/run_command.h"
#include "tools/hearth/command_description.h"
#include "tools/hearth/completion.h"
#include "tools/hearth/manual_page.h"

namespace hearth::tools {
namespace {

namespace fs = std::filesystem;
using testing::read_file;
using testing::run_hearth;
using testing::temporary_path;
using testing::write_file;

const std::vector<CommandDescription>& commands() {
  static const std::vector<CommandDescription> all = describe(hearth_commands());
  return all;
}

const CommandDescription* find(std::string_view command) {
  for (const CommandDescription& each : commands())
    if (each.command == command) return &each;
  return nullptr;
}

int shell(const std::string& command) { return std::system(command.c_str()); }
bool installed(const std::string& program) {
  return shell("command -v " + program + " > /dev/null 2>&1") == 0;
}

TEST(Manual, EverySubcommandIsDescribedWithItsFlags) {
  for (const CommandDescription& command : commands())
    for (const SubcommandName& subcommand : command.subcommands)
      EXPECT_NE(find(command.command + " " + subcommand.name), nullptr)
          << command.command << " " << subcommand.name;
  const CommandDescription* run = find("hearth run");
  ASSERT_NE(run, nullptr);
  std::vector<std::string> spellings;
  for (const FlagDescription& flag : run->flags)
    spellings.insert(spellings.end(), flag.spellings.begin(), flag.spellings.end());
  for (const char* spelling : {"-h", "--help", "-m", "--model", "--ctx-size", "--policy", "--temp"})
    EXPECT_EQ(std::count(spellings.begin(), spellings.end(), spelling), 1) << spelling;
}

TEST(Manual, DescribesWhatHelpDescribes) {
  for (const CommandDescription& command : commands()) {
    if (!command.subcommands.empty()) continue;
    std::vector<std::string> words;
    for (std::size_t begin = 7; begin < command.command.size();) {
      const std::size_t end = std::min(command.command.find(' ', begin), command.command.size());
      words.push_back(command.command.substr(begin, end - begin));
      begin = end + 1;
    }
    words.emplace_back("--help");
    const std::string help = run_hearth(words).output;
    std::size_t lines = 0;
    for (const FlagDescription& flag : command.flags)
      for (const std::string& spelling : flag.spellings) {
        EXPECT_NE(help.find(spelling), std::string::npos) << command.command << " " << spelling;
        ++lines;
      }
    EXPECT_GT(lines, 1u) << command.command;
  }
}

TEST(Manual, EveryArgumentWithoutAFlagHasAName) {
  std::size_t arguments = 0;
  for (const CommandDescription& command : commands())
    for (const FlagDescription& flag : command.flags) {
      if (!flag.positional && !flag.spellings.empty()) continue;
      EXPECT_FALSE(flag.value.empty()) << command.command << ": " << flag.help;
      ++arguments;
    }
  EXPECT_GT(arguments, 5u);
}

TEST(Manual, ValuesAreWordsOrFiles) {
  FlagDescription flag;
  flag.value = "FILE|auto|off";
  EXPECT_TRUE(flag.takes_path());
  EXPECT_EQ(flag.words(), (std::vector<std::string>{"auto", "off"}));
  flag.value = "N";
  EXPECT_FALSE(flag.takes_path());
  EXPECT_TRUE(flag.words().empty());
}

TEST(Manual, PagesEscapeWhatRoffWouldRead) {
  const CommandDescription command{
      .command = "hearth x",
      .summary = ".dots begin lines, 'quotes too, a\\b",
      .flags = {{.spellings = {"-m", "--model"}, .value = "FILE", .help = "a-b", .group = "G"}},
      .subcommands = {}};
  const std::string page = manual_page(command, "1.2.3");
  EXPECT_NE(page.find("\n\\&.dots"), std::string::npos) << page;
  EXPECT_NE(page.find("a\\(rsb"), std::string::npos) << page;
  EXPECT_NE(page.find("\\fB\\-m\\fR, \\fB\\-\\-model\\fR \\fIFILE\\fR\na\\-b\n"), std::string::npos)
      << page;
  EXPECT_NE(page.find("Hearth 1.2.3"), std::string::npos);
}

// The whole layout, as the command writes it.
class ManualFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = temporary_path("share");
    ASSERT_EQ(run_hearth({"manual", folder_}).exit_code, 0);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string folder_;
};

TEST_F(ManualFolder, HasAPageForEveryCommand) {
  std::size_t pages = 0;
  for (const auto& page : fs::directory_iterator(folder_ + "/man/man1")) {
    if (installed("groff")) {
      // Warnings go to standard error, and there must be none.
      EXPECT_NE(shell("groff -man -ww -Tutf8 -z " + page.path().string() + " 2>&1 | grep ."), 0)
          << page.path();
    }
    ++pages;
  }
  EXPECT_EQ(pages, commands().size());
  EXPECT_TRUE(fs::exists(folder_ + "/man/man1/hearth.1"));
  EXPECT_TRUE(fs::exists(folder_ + "/man/man1/hearth-profile-record.1"));
  for (const char* part : {".SH ENVIRONMENT", ".SH FILES", "machine.toml", ".SH EXIT STATUS"})
    EXPECT_NE(read_file(folder_ + "/man/man1/hearth-run.1").find(part), std::string::npos) << part;
}

TEST_F(ManualFolder, BashCompletesSubcommandsFlagsAndValues) {
  const std::string script = temporary_path("complete.bash");
  write_file(script, "set -eu\n. '" + folder_ +
                         "/bash-completion/completions/hearth'\n"
                         "expect() {\n"
                         "  local wanted=$1; shift\n"
                         "  COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMPREPLY=()\n"
                         "  _hearth\n"
                         "  [[ \"${COMPREPLY[*]}\" == \"$wanted\" ]] ||\n"
                         "    { echo \"$*: '${COMPREPLY[*]}', not '$wanted'\" >&2; exit 1; }\n"
                         "}\n"
                         "expect 'inspect' hearth ins\n"
                         "expect '--policy' hearth run --poli\n"
                         "expect 'forecast' hearth run --policy fo\n"
                         "expect 'forecast' hearth run --policy = fo\n"
                         "expect 'record' hearth profile rec\n"
                         "expect 'sglang llama.cpp csv spark' hearth profile export --format ''\n"
                         "expect 'chat' hearth ch\n"
                         "expect '' hearth run -n ''\n"
                         "cd '" +
                         folder_ +
                         "'\n"
                         "expect 'man' hearth run --model m\n"
                         "expect 'man' hearth inspect m\n");
  EXPECT_EQ(shell("bash " + script), 0);
}

TEST_F(ManualFolder, TheOtherShellsReadTheirs) {
  bool checked = false;
  for (const auto& [program, file] : {std::pair{"zsh", "zsh/site-functions/_hearth"},
                                      std::pair{"fish", "fish/vendor_completions.d/hearth.fish"}}) {
    if (!installed(program)) continue;
    EXPECT_EQ(shell(std::string(program) + " -n '" + folder_ + "/" + file + "'"), 0) << program;
    checked = true;
  }
  if (!checked) GTEST_SKIP() << "neither zsh nor fish is installed";
}

TEST(ManualFolderErrors, AFolderThatCannotBeMadeIsNamed) {
  const auto result = run_hearth({"manual", "/proc/nothing"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("/proc/nothing"), std::string::npos) << result.errors;
}

TEST(Version, SaysHowItWasBuilt) {
  const std::string facts = run_hearth({"--version"}).output;
  for (const char* line : {"hearth ", "\ncompiler  ", "\nflags     ", "\nkernels   scalar",
                           "\ndisk      io_uring is "})
    EXPECT_NE(facts.find(line), std::string::npos) << line << facts;
  EXPECT_NE(facts.find("-ffp-contract=off"), std::string::npos) << facts;
}

}  // namespace
}  // namespace hearth::tools
