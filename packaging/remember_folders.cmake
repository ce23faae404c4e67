# Part of the installation: writes down which folders it is going to make, so that `uninstall` can
# remove these and no others. HEARTH_FOLDERS: where files will lie, below the prefix.
set(record ${HEARTH_BUILD_FOLDER}/install_folders.txt)
set(prefix "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
set(made "")
if(EXISTS ${record})  # of an installation before this one, perhaps elsewhere
  file(STRINGS ${record} made)
endif()
foreach(folder IN LISTS HEARTH_FOLDERS)
  if(IS_ABSOLUTE ${folder})
    set(path "$ENV{DESTDIR}${folder}")
  else()
    set(path "${prefix}/${folder}")
  endif()
  # The folder and those above it, until one that is there.
  while(NOT EXISTS ${path})
    list(APPEND made ${path})
    get_filename_component(path ${path} DIRECTORY)
  endwhile()
endforeach()
list(REMOVE_DUPLICATES made)
list(JOIN made "\n" lines)
file(WRITE ${record} "${lines}\n")
