// The two implementations of AsyncReader, for async_reader.cpp and the tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/async_reader.h"
#include "io/direct_file.h"
#include "io/kernel_calls.h"
#include "io/read_queue.h"

namespace hearth::io {

// AsyncReader::open with the system calls given; `calls` outlives the reader.
std::unique_ptr<AsyncReader> open_reader(const std::vector<std::string>& paths,
                                         const ReaderOptions& options, KernelCalls& calls);

// What both back ends are made of. `files` is moved from on success only.
struct ReaderParts {
  std::vector<DirectFile>& files;
  ReadQueue::Limits limits;
  KernelCalls& calls;
};

// Null where the system refuses io_uring, with the errno in `refusal`.
std::unique_ptr<AsyncReader> open_uring_reader(const ReaderParts& parts, int& refusal);

// `uring_refusal`: errno that led here, or 0; for the description.
std::unique_ptr<AsyncReader> open_pread_reader(const ReaderParts& parts, int uring_refusal);

bool all_direct(const std::vector<DirectFile>& files);
// "O_DIRECT, 512-byte alignment" or "page cache (O_DIRECT refused: Invalid argument)".
std::string describe_files(const std::vector<DirectFile>& files, std::uint64_t alignment);
// ", 3 attempts repeated, 1 read finished through the page cache"; empty when all went well.
std::string describe_trouble(const ReadQueue& queue);

}  // namespace hearth::io
