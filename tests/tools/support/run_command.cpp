#include "tests/tools/support/run_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace hearth::tools::testing {
namespace {

struct TemporaryFolder {
  std::string path;
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hearth-tools-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

void redirect(const std::string& path, int flags, int descriptor) {
  const int file = open(path.c_str(), flags | O_CREAT, 0600);
  dup2(file, descriptor);
  close(file);
}

[[noreturn]] void become_hearth(const CommandRun& run, const std::string& base) {
  redirect(base + ".in", O_RDONLY, STDIN_FILENO);
  redirect(base + ".out", O_WRONLY | O_TRUNC, STDOUT_FILENO);
  redirect(base + ".err", O_WRONLY | O_TRUNC, STDERR_FILENO);
  for (const auto& [name, value] : run.environment) setenv(name.c_str(), value.c_str(), 1);
  if (run.prepare) run.prepare();
  std::vector<char*> argv = {const_cast<char*>(run.program.c_str())};
  for (const std::string& argument : run.arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(run.program.c_str(), argv.data());
  _exit(127);
}

// The highest resident size of a process so far; nothing before it became hearth. (What the system
// reports at its end would count the memory of this process, which it was forked from.)
Bytes peak_of(pid_t child) {
  std::ifstream status(fmt::format("/proc/{}/status", child));
  bool is_hearth = false;
  for (std::string line; std::getline(status, line);) {
    if (line == "Name:\thearth") is_hearth = true;
    if (is_hearth && line.starts_with("VmHWM:")) return kKiB * std::stoull(line.substr(6));
  }
  return Bytes(0);
}

// False where the child had to be killed: nothing the tests run takes nearly this long.
bool wait_for(pid_t child, int& status, Bytes& peak) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return false;
    }
    peak = std::max(peak, peak_of(child));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace

CommandResult run_hearth(const CommandRun& run) {
  const std::string base = temporary_path("run");
  write_file(base + ".in", run.input);
  write_file(base + ".out", "");
  const pid_t child = fork();
  if (child == 0) become_hearth(run, base);
  if (run.meanwhile) run.meanwhile(child);
  int status = 0;
  CommandResult result;
  if (!wait_for(child, status, result.peak_memory))
    ADD_FAILURE() << "the command hung and was killed";
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.output = read_file(base + ".out");
  result.errors = read_file(base + ".err");
  return result;
}

std::string output_so_far() { return read_file(temporary_path("run.out")); }

void wait_for_output() {
  for (int i = 0; i < 30000 && output_so_far().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_FALSE(output_so_far().empty());
}

std::string temporary_path(const std::string& name) {
  static const TemporaryFolder folder;
  return folder.path + "/" + name;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  EXPECT_TRUE(file.flush()) << path;
}

}  // namespace hearth::tools::testing
