# GPU backends. The kernels of a vendor are compiled by its compiler in commands of their own: each
# source once for all of its architectures. Everything else is C++ for the host.

# A plain configuration takes CUDA where there is a compiler for it; the presets do not, and ./dev
# asks for it where there is a device.
find_program(HEARTH_NVCC nvcc PATHS /usr/local/cuda/bin)
find_program(HEARTH_HIPCC hipcc PATHS /opt/rocm/bin)
set(cuda_default OFF)
if(HEARTH_NVCC)
  set(cuda_default ON)
endif()
option(HEARTH_CUDA "NVIDIA GPUs" ${cuda_default})
option(HEARTH_HIP "AMD GPUs" OFF)
set(HEARTH_CUDA_ARCHITECTURES 75 80 86 89 90 120 CACHE STRING "Compute capabilities, without the dot")
set(HEARTH_HIP_ARCHITECTURES gfx906 gfx90a gfx1030 CACHE STRING "AMD architectures")
foreach(vendor CUDA:NVCC HIP:HIPCC)
  string(REPLACE ":" ";" vendor ${vendor})
  list(GET vendor 0 name)
  list(GET vendor 1 compiler)
  if(HEARTH_${name} AND NOT HEARTH_${compiler})
    message(FATAL_ERROR "HEARTH_${name} needs its compiler: set HEARTH_${compiler} to its path")
  endif()
endforeach()

# Device code for the last architecture is kept as PTX, too, for those that are newer.
set(hearth_cuda_flags -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr --threads 2
  -Werror all-warnings -Xcompiler -Wall)
foreach(architecture IN LISTS HEARTH_CUDA_ARCHITECTURES)
  list(APPEND hearth_cuda_flags -gencode arch=compute_${architecture},code=sm_${architecture})
endforeach()
list(GET HEARTH_CUDA_ARCHITECTURES -1 newest)
list(APPEND hearth_cuda_flags -gencode arch=compute_${newest},code=compute_${newest})
list(TRANSFORM HEARTH_HIP_ARCHITECTURES PREPEND --offload-arch= OUTPUT_VARIABLE hearth_hip_flags)
list(APPEND hearth_hip_flags -std=c++20 -O3 -ffp-contract=off -fhip-fp32-correctly-rounded-divide-sqrt
  -Wall -Werror)

# Where nvcc takes CUDA's headers and libraries from. It is asked, since the nvcc on the path is often
# a link or a script that calls the one in the toolkit.
function(hearth_nvcc_folders include libraries)
  execute_process(COMMAND ${HEARTH_NVCC} --dryrun -x cu /dev/null -o /dev/null
    OUTPUT_VARIABLE steps ERROR_VARIABLE steps)
  string(REGEX MATCHALL "-[IL][^\" \n]*/targets/[^\" \n]*" folders "${steps}")
  set(found_I)
  set(found_L)
  foreach(folder IN LISTS folders)
    string(SUBSTRING ${folder} 1 1 kind)
    string(SUBSTRING ${folder} 2 -1 folder)
    list(APPEND found_${kind} ${folder})
  endforeach()
  if(NOT found_I OR NOT found_L)
    message(FATAL_ERROR "${HEARTH_NVCC} --dryrun does not say where CUDA's headers and libraries are:\n${steps}")
  endif()
  list(REMOVE_DUPLICATES found_I)
  list(REMOVE_DUPLICATES found_L)
  set(${include} ${found_I} PARENT_SCOPE)
  set(${libraries} ${found_L} PARENT_SCOPE)
endfunction()

# hearth_gpu_backend(cuda|hip kernels...): adds a vendor's kernels and device to hearth_gpu.
function(hearth_gpu_backend vendor)
  string(TOUPPER ${vendor} name)
  if(vendor STREQUAL cuda)
    set(compiler ${HEARTH_NVCC})
    hearth_nvcc_folders(include libraries)
    find_library(HEARTH_CUDART cudart_static PATHS ${libraries} REQUIRED)
    target_link_libraries(hearth_gpu PUBLIC ${HEARTH_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
    set(device_flags -w)
  else()
    set(compiler ${HEARTH_HIPCC})
    find_path(include hip/hip_runtime_api.h PATHS /opt/rocm/include REQUIRED)
    find_library(HEARTH_AMDHIP amdhip64 PATHS /opt/rocm/lib REQUIRED)
    target_link_libraries(hearth_gpu PUBLIC ${HEARTH_AMDHIP})
    set(device_flags -DHEARTH_HIP_SOURCE -D__HIP_PLATFORM_AMD__)
  endif()
  set(objects)
  foreach(source IN LISTS ARGN)
    cmake_path(GET source STEM stem)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${vendor}_${stem}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${compiler} ${hearth_${vendor}_flags} -I${CMAKE_SOURCE_DIR}
        -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d COMMENT "Compiling ${stem} for ${name}" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  add_library(hearth_gpu_${vendor} OBJECT vendor/device.cpp)
  target_include_directories(hearth_gpu_${vendor} SYSTEM PRIVATE ${include})
  target_compile_options(hearth_gpu_${vendor} PRIVATE ${device_flags})
  target_link_libraries(hearth_gpu_${vendor} PRIVATE hearth_base)
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  target_sources(hearth_gpu PRIVATE ${objects} $<TARGET_OBJECTS:hearth_gpu_${vendor}>)
  set_property(SOURCE backend.cpp APPEND PROPERTY COMPILE_DEFINITIONS HEARTH_${name})
  message(STATUS "GPU: ${name} for ${HEARTH_${name}_ARCHITECTURES}")
endfunction()
